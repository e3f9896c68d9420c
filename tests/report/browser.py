"""A headless Chromium, Debian's, that is driven through its own driver."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

PACKAGES = ("chromium", "chromium-driver")
PROGRAMS = ("chromium", "chromedriver")
_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # which root cannot have
    "--disable-gpu",
    "--enable-unsafe-swiftshader",  # WebGL without a GPU
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def why_not() -> str:
    """Why no browser can be had here; empty if one can."""
    if all(shutil.which(program) for program in PROGRAMS):
        return ""
    if os.geteuid() or not shutil.which("apt-get"):
        return f"{' or '.join(PROGRAMS)} is missing; on Debian: apt-get install chromium-driver"
    return ""


@contextmanager
def running(profile: Path) -> Iterator[Chrome]:
    """Install what is missing, start a browser, and end it afterwards.

    Args:
        profile: an empty folder for its own files.
    """
    with FileLock("/tmp/adaspan-tests-chromium.lock"):
        _install()
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    # What the console says, and every request.
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = Chrome(options, Service(shutil.which("chromedriver")))
    try:
        yield browser
    finally:
        browser.quit()


def _install() -> None:
    if not all(shutil.which(program) for program in PROGRAMS):
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "--yes", *PACKAGES]):
            subprocess.run(["apt-get", "-qq", *command], env=quiet, check=True, timeout=600)
