"""A real Chromium without a window, told what to do over two pipes: its DevTools protocol, without a library for it.

https://chromedevtools.github.io/devtools-protocol/; a message is JSON, and a zero byte ends it.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

_NAMES = ("chromium", "chromium-browser", "google-chrome")
#: Seconds: a start of a browser on a machine that does something else as well.
_PATIENCE = 120.0
_KEYS = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Home": 36, "End": 35, "Tab": 9}


def why_unavailable() -> str | None:
    """What a test that needs one says when it skips."""
    return None if _program() else "no Chromium is installed; runtime/cpp/scripts/install_tools.sh browser does it"


def _program() -> str | None:
    return next((found for name in _NAMES if (found := shutil.which(name))), None)


class Chromium:
    """One browser with one tab. `said` is every message of its console, error of a script and refusal of a policy up to now."""

    def __init__(self) -> None:
        program = _program()
        assert program is not None, why_unavailable()
        self._profile = tempfile.mkdtemp(prefix="chromium-")
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()

        def as_three_and_four() -> None:
            # By way of higher numbers: one of the pipes may be 3 or 4 already.
            high = os.dup(to_read), os.dup(to_write)
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe",
                   "--no-first-run", "--disable-extensions", "--disable-background-networking", "--window-size=1100,1600",
                   f"--user-data-dir={self._profile}"]  # fmt: skip
        self._process = subprocess.Popen(
            [program, *options, "about:blank"], pass_fds=(3, 4), preexec_fn=as_three_and_four, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "HOME": self._profile},
        )  # fmt: skip
        os.close(to_read)
        os.close(to_write)
        self._number, self._rest, self.said = 0, b"", list[str]()
        self._events: list[dict[str, Any]] = []
        self._session: str | None = None
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._ask(f"{domain}.enable")

    def close(self) -> None:
        os.close(self._write)  # which is how it is told to end
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._read)
        shutil.rmtree(self._profile, ignore_errors=True)

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self, page: Path) -> None:
        """Load a file, and wait for it."""
        self._events.clear()
        self._ask("Page.navigate", url=page.resolve().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            self._receive()

    def look(self, dark: bool = False, printed: bool = False) -> None:
        """Show pages in this scheme from now on."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", media="print" if printed else "", features=[scheme])

    def resize(self, width: int) -> None:
        """The width of the window, in pixels of CSS."""
        self._ask("Emulation.setDeviceMetricsOverride", width=width, height=1600, deviceScaleFactor=1, mobile=False)

    def run(self, script: str) -> Any:
        """What an expression of JavaScript is in the page, as JSON; the page's policy does not hold for it."""
        told = self._ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def press(self, key: str) -> None:
        """A key on whatever has the focus."""
        text = {} if len(key) > 1 else {"text": key}
        code = _KEYS.get(key, 0)
        for kind in ("keyDown", "keyUp"):
            more = text if kind == "keyDown" else {}
            self._ask("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **more)

    def point(self, x: float, y: float) -> None:
        """Move the mouse to a place of the window, in pixels of CSS."""
        self._ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def picture(self, file: Path, selector: str = "html") -> None:
        """A PNG of an element, all of it."""
        box = self.run(
            f"(() => {{ const b = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
            "return {x: b.x + scrollX, y: b.y + scrollY, width: b.width, height: b.height}; })()"
        )
        told = self._ask("Page.captureScreenshot", captureBeyondViewport=True, clip={**box, "scale": 1})
        file.write_bytes(base64.b64decode(told["data"]))

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        told: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            told["sessionId"] = self._session
        os.write(self._write, json.dumps(told).encode() + b"\0")
        while True:
            got = self._receive()
            if got.get("id") == self._number:
                assert "error" not in got, f"{method}: {got['error']}"
                result: dict[str, Any] = got["result"]
                return result

    def _receive(self) -> dict[str, Any]:
        deadline = time.monotonic() + _PATIENCE
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], max(deadline - time.monotonic(), 0))
            assert ready, "Chromium says nothing"
            part = os.read(self._read, 1 << 20)
            assert part, "Chromium ended"
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        got: dict[str, Any] = json.loads(message)
        self._note(got)
        return got

    def _note(self, got: dict[str, Any]) -> None:
        method, told = got.get("method", ""), got.get("params", {})
        if method == "Page.loadEventFired":
            self._events.append(got)
        elif method == "Runtime.consoleAPICalled":
            self.said.append(" ".join(str(each.get("value", each.get("description"))) for each in told["args"]))
        elif method == "Runtime.exceptionThrown":
            self.said.append(told["exceptionDetails"].get("exception", {}).get("description", "an error"))
        elif method == "Log.entryAdded":
            self.said.append(told["entry"]["text"])
