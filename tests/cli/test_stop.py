"""Ctrl-C in the middle of a clean-up."""

from __future__ import annotations

import os
import signal

import pytest

from tasearch.cli.stop import Stop


def search(signals: int, *, training: bool = True) -> None:
    """A search whose clean-up fails, which as many signals cut off."""
    with Stop() as stop:
        stop.training = training
        try:
            for _ in range(signals):
                os.kill(os.getpid(), signal.SIGINT)
        finally:
            raise FileNotFoundError("removed already")


def test_error_after_an_interrupt_is_the_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt):
        search(signals=2)


def test_error_after_a_first_ctrl_c_stays_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        search(signals=1)


def test_error_while_a_preparation_stops_is_the_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt):
        search(signals=1, training=False)
