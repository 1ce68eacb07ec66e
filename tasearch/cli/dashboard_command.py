"""optuna-dashboard on a copy of a run's study."""

from __future__ import annotations

import contextlib
import importlib.util
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from tasearch.cli.console import out
from tasearch.errors import RunError, TasearchError, first_line
from tasearch.runs.journal_copy import copied_storage
from tasearch.runs.run import Run

HOST = "127.0.0.1"  # this machine alone: the dashboard has no password


class _Server(ThreadingMixIn, WSGIServer):
    """A server that waits for no open connection when it ends."""

    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    """Answers requests without a line in the terminal for each."""

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        pass


def check_dashboard() -> None:
    """Refuse to go on where optuna-dashboard is not installed.

    Raises:
        TasearchError: It is missing; the message says how to get it.
    """
    if importlib.util.find_spec("optuna_dashboard") is None:
        raise TasearchError(
            "optuna-dashboard is not installed: pip install 'tasearch[dashboard]' installs it"
        )


def serve_dashboard(run: Run, port: int) -> None:
    """Show a run in optuna-dashboard until Ctrl-C or SIGTERM.

    What is changed there is changed in a copy, which is removed at the end.

    Args:
        run: The run.
        port: The port; 0 for any that is free.

    Raises:
        RunError: The port cannot be used, or the run cannot be read.
        NothingFits: The run has no trial yet.
        KeyboardInterrupt: It was stopped, which is the only end.
    """
    with _stopped_by_signals(), tempfile.TemporaryDirectory(prefix="tasearch-") as folder:
        storage = copied_storage(run, Path(folder))
        from optuna_dashboard import wsgi

        with _server(wsgi(storage), port) as server:
            out.print(
                f"http://{HOST}:{server.server_port}/ shows a copy of {run.path} as it is now; "
                f"what you change there is lost. Ctrl-C ends it",
                soft_wrap=True,
            )
            server.serve_forever()


def _server(app: Any, port: int) -> WSGIServer:
    try:
        return make_server(HOST, port, app, _Server, _QuietHandler)
    except OSError as error:
        why = error.strerror or first_line(error)
        raise RunError(f"--port: {port} cannot be used: {why}; choose another one") from None


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does, so that the copy is removed then too.

    A shell that starts a command in the background has it ignore Ctrl-C; it counts here as well.
    """
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
