"""A real headless Chromium, driven over its DevTools pipe (file descriptors 3 and 4): no web socket, no dependency.

Pages are opened from files. Everything the page asked of a network, wrote to the console or threw is kept.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
)  # fmt: skip


class Chromium:
    """One browser with one page. Use as a context manager; `profile` is a fresh folder."""

    def __init__(self, profile: Path) -> None:
        assert PROGRAM is not None
        our_read, its_write = os.pipe()
        its_read, our_write = os.pipe()
        self._in, self._out = our_read, our_write

        def place() -> None:
            # dup first, so that neither end is lost if it already is 3 or 4.
            read, write = os.dup(its_read), os.dup(its_write)
            os.dup2(read, 3)
            os.dup2(write, 4)

        arguments = [PROGRAM, *FLAGS, f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"]
        self._process = subprocess.Popen(
            arguments,
            preexec_fn=place,  # noqa: PLW1509 - no other thread runs here
            close_fds=False,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(its_read)
        os.close(its_write)
        self._buffer = b""
        self._number = 0
        self._session = ""
        self.events: list[dict[str, Any]] = []
        # Its first page may come a moment after it answers.
        pages: list[str] = []
        while not pages:
            targets = self.call("Target.getTargets")["targetInfos"]
            pages = [t["targetId"] for t in targets if t["type"] == "page"]
        page = pages[0]
        self._session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._out)
        os.close(self._in)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def call(self, method: str, timeout_s: float = 600.0, **parameters: Any) -> dict[str, Any]:
        """One DevTools command; raises RuntimeError on its error."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._out, data) :]
        end = time.monotonic() + timeout_s
        while True:
            answer = self._next(end)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def open(self, file: Path) -> float:
        """Load a page; returns the seconds until its load event."""
        self.events.clear()
        began = time.monotonic()
        self.call("Page.navigate", url=file.resolve().as_uri())
        self.wait("Page.loadEventFired")
        return time.monotonic() - began

    def wait(self, method: str, timeout_s: float = 600.0) -> None:
        end = time.monotonic() + timeout_s
        while not any(e.get("method") == method for e in self.events):
            self.events.append(self._next(end))

    def wait_complaint(self, words: str, timeout_s: float = 600.0) -> None:
        """Until one of `complaints` has these words: the browser logs when it comes to it."""
        end = time.monotonic() + timeout_s
        while not any(words in complaint for complaint in self.complaints()):
            self.events.append(self._next(end))

    def value(self, script: str) -> Any:
        """What a script in the page comes to (a promise is awaited)."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def scripts(self, allowed: bool) -> None:
        """Whether pages opened from now on may run their own scripts. (`value` works either way.)"""
        self.call("Emulation.setScriptExecutionDisabled", value=not allowed)

    def screen(self, width: int, height: int, *, scheme: str = "light", media: str = "") -> None:
        """Size in CSS pixels, colour scheme, and "print" or "" for media."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)

    def picture(self, file: Path) -> None:
        """A PNG of what is on the screen."""
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def pdf(self) -> bytes:
        """The page as printed on A4."""
        size = {"paperWidth": 8.27, "paperHeight": 11.69}
        return base64.b64decode(self.call("Page.printToPDF", **size)["data"])

    def requests(self) -> list[str]:
        """Every address the page asked for, the page itself included."""
        asked = [e["params"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        return [p["request"]["url"] for p in asked]

    def complaints(self) -> list[str]:
        """Console errors and warnings, uncaught exceptions, and what the browser logged (a refused load, say)."""
        found = []
        for event in self.events:
            method, parameters = event.get("method"), event.get("params", {})
            if method == "Runtime.exceptionThrown":
                found.append(str(parameters["exceptionDetails"]))
            elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
                found.append(str(parameters["args"]))
            elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
                found.append(str(parameters["entry"]))
        return found

    def _next(self, end: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise TimeoutError("the browser does not answer")
            data = os.read(self._in, 1 << 20)
            if not data:
                raise RuntimeError("the browser has ended")
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        return answer
