"""Downloads where there may be no network: told in seconds, and not after minutes of retries."""

from __future__ import annotations

import contextlib
import socket
import sys
import urllib.request
import warnings
from collections.abc import Iterator
from threading import Thread
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from tasearch.errors import raised, shown

SECONDS = 10.0  # that a host has to take a connection, and a download to go on


class NoNetwork(OSError):
    """A host cannot be reached, and what is asked of it was not downloaded before."""


@contextlib.contextmanager
def of_hub() -> Iterator[None]:
    """A context for calls of the Hugging Face Hub's client.

    Where the Hub cannot be reached, the client takes what it has downloaded before, and repeats
    nothing: by itself it tries each file six times, for half a minute.

    Raises:
        NoNetwork: The Hub cannot be reached, and the client fails.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        yield
        return
    reason = unreachable(constants.ENDPOINT)
    if not reason:
        yield
        return
    with _offline(constants):
        try:
            yield
        except Exception as error:  # of the client or the package that calls it, of many kinds
            host = urlsplit(constants.ENDPOINT).hostname
            raise NoNetwork(f"{host} cannot be reached ({reason})") from error


@contextlib.contextmanager
def of_urls() -> Iterator[None]:
    """A context for calls that open URLs, which would wait for minutes where nothing answers."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as of a download that is repeated
            yield
    finally:
        socket.setdefaulttimeout(before)


def unreachable(url: str, seconds: float = SECONDS) -> str:
    """Why the host of a URL takes no connection; empty if it does.

    Where the environment names a proxy for it, that is asked instead.

    Args:
        url: The URL, such as "https://huggingface.co".
        seconds: Time that the host has.
    """
    parts = urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.hostname or ""):
        parts = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    port = parts.port or (80 if parts.scheme == "http" else 443)
    found = [f"no answer within {seconds:g} s"]

    def connect() -> None:
        try:
            socket.create_connection((parts.hostname, port), timeout=seconds).close()
            found.append("")
        except OSError as error:
            found.append(shown(error.strerror or error))

    asking = Thread(target=connect, daemon=True)  # to find an address may take longer
    asking.start()
    asking.join(seconds)
    return found[-1]


def reason_of(error: BaseException) -> str:
    """Why a download failed, in one line."""
    if isinstance(error, URLError) and not isinstance(error, HTTPError):
        reason = error.reason
        return f"its host cannot be reached ({shown(getattr(reason, 'strerror', None) or reason)})"
    return shown(error if isinstance(error, NoNetwork) else raised(error))


@contextlib.contextmanager
def _offline(constants: Any) -> Iterator[None]:
    """Let the Hub's client, and packages that have copied its setting, use no network."""
    settings = [constants, sys.modules.get("datasets.config")]
    owners = [one for one in settings if one is not None]
    before = [one.HF_HUB_OFFLINE for one in owners]
    for one in owners:
        one.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        for one, value in zip(owners, before, strict=True):
            one.HF_HUB_OFFLINE = value
