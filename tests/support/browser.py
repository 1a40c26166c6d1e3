"""Stock TensorBoard as a process, and headless Chromium that looks at its pages.

Where Chromium or its driver is missing, ``require_browser`` skips the test with
the reason, or fails it, as ``support.tools`` says.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from selenium.webdriver import Chrome, ChromeOptions, ChromeService

from support.tools import lacking

T = TypeVar("T")

START_SECS = 120.0
PAGE_SECS = 60.0
POLL_SECS = 0.05

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # which Chromium cannot have as root
    "--disable-gpu",
    "--disable-dev-shm-usage",  # a container's /dev/shm is small
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
)

#: WebGL without a graphics card, which the projector draws with.
WEBGL_FLAGS = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")

#: Defines ``all(selector, root)``: ``querySelectorAll`` that looks into shadow
#: roots too, of which TensorBoard's older pages are made.
_ALL = """
const all = (selector, root = document) => {
  const found = [...root.querySelectorAll(selector)];
  for (const element of root.querySelectorAll('*')) {
    if (element.shadowRoot) found.push(...all(selector, element.shadowRoot));
  }
  if (root.shadowRoot) found.push(...all(selector, root.shadowRoot));
  return found;
};
"""


def _chromium() -> str | None:
    return next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)


def _driver() -> str | None:
    return shutil.which("chromedriver")


def why_no_browser() -> str | None:
    """Returns what a browser test lacks on this machine, None where it can run."""
    if _chromium() is None:
        return f"no Chromium: none of {', '.join(CHROMIUM_NAMES)} is on the PATH"
    if _driver() is None:
        return "no chromedriver on the PATH (Debian: chromium-driver)"
    return None


def require_browser() -> None:
    """Skips the test where there is no browser, or fails it if there must be one."""
    if reason := why_no_browser():
        lacking(reason)


class TensorBoard:
    """``python -m tensorboard.main`` on ``logdir`` and a free port; a context manager."""

    def __init__(self, logdir: Path | str, *flags: str) -> None:
        self.logdir = Path(logdir)
        self._flags = flags
        self.url = ""  #: ends in a slash; known once entered
        self._stack = ExitStack()

    def __enter__(self) -> TensorBoard:
        with ExitStack() as stack:
            log = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "log"
            process = stack.enter_context(
                subprocess.Popen(
                    [
                        *(sys.executable, "-m", "tensorboard.main"),
                        *("--logdir", str(self.logdir), "--host", "127.0.0.1", "--port", "0"),
                        *self._flags,
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=stack.enter_context(log.open("wb")),
                )
            )
            stack.callback(process.terminate)
            deadline = time.monotonic() + START_SECS
            while (found := re.search(r"http://\S+/", log.read_text(errors="replace"))) is None:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"tensorboard does not serve:\n{log.read_text()}")
                time.sleep(POLL_SECS)
            self.url = found.group()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()


class Browser:
    """Headless Chromium with a new profile; a context manager.

    ``width`` and ``height`` are the page's, in CSS pixels. TensorBoard draws
    a card only when it is in view, so a test that reads cards makes the page
    tall enough to show all of them. ``webgl`` is drawn by the processor, slowly.
    """

    def __init__(self, *, width: int = 1400, height: int = 4000, webgl: bool = False) -> None:
        self._size = width, height
        self._flags = (*FLAGS, *WEBGL_FLAGS) if webgl else FLAGS
        self._stack = ExitStack()
        self._driver: Chrome

    def __enter__(self) -> Browser:
        with ExitStack() as stack:
            # Chromium's last processes may still write there when it has ended.
            profile = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
            )
            options = ChromeOptions()
            options.binary_location = _chromium() or ""
            for flag in (*self._flags, f"--user-data-dir={profile}"):
                options.add_argument(flag)
            service = ChromeService(_driver(), log_output=subprocess.DEVNULL)
            self._driver = Chrome(options=options, service=service)
            stack.callback(self._driver.quit)
            self.resize(*self._size)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def resize(self, width: int, height: int) -> None:
        """Makes the page ``width`` times ``height`` CSS pixels large."""
        self._driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )

    def open(self, url: str) -> None:
        """Loads ``url``, anew also where only the part after # differs."""
        self._driver.get("about:blank")
        self._driver.get(url)

    def run(self, script: str, *arguments: Any) -> Any:
        """Runs the body of a JavaScript function and returns what it returns.

        It may call ``all(selector[, root])``, which finds elements inside shadow roots too.
        """
        return self._driver.execute_script(_ALL + script, *arguments)

    def wait_for(self, read: Callable[[], T], enough: Callable[[T], bool], what: str) -> T:
        """Reads until ``enough`` says yes, and returns that reading.

        Raises ``AssertionError`` with the last reading after ``PAGE_SECS``.
        """
        deadline = time.monotonic() + PAGE_SECS
        while not enough(reading := read()):
            if time.monotonic() > deadline:
                raise AssertionError(f"the page never showed {what}; it shows {reading!r}")
            time.sleep(POLL_SECS)
        return reading

    def screenshot(self) -> bytes:
        """Returns the page as a PNG file."""
        return self._driver.get_screenshot_as_png()
