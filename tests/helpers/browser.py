"""A headless Chromium that shows report pages."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
SWITCHES = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--window-size=1280,1600",
)


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser without a page; the test is skipped where there is none."""
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("no chromium with chromedriver on this machine")
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = CHROMIUM
    for switch in SWITCHES:
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def show(driver: Any, page: Path, address: str = "") -> None:
    """Open a page, and wait until its figures are drawn.

    Args:
        driver: The browser.
        page: Path of the page.
        address: What follows the path, such as "#params=500".
    """
    driver.get("about:blank")  # else a new address alone would not load the page again
    driver.get(page.as_uri() + address)
    ready = "return document.body.dataset.ready"
    wait_until(driver, lambda d: d.execute_script(ready) == "yes", "the figures")


def wait_until(driver: Any, condition: Callable[[Any], object], what: object) -> None:
    """Wait for the page, which needs a moment to react.

    Args:
        driver: The browser.
        condition: Function of the driver that becomes true.
        what: Name of the condition in the message.
    """
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(driver, 30).until(condition, str(what))


@contextmanager
def screen(driver: Any, *, width: int, height: int = 900, dark: bool = False) -> Iterator[None]:
    """A screen of some size, and the user's choice of a dark page.

    Args:
        driver: The browser.
        width: Width in pixels; below 600 it is a phone.
        height: Height in pixels.
        dark: Whether the user likes dark pages.
    """
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    try:
        yield
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
