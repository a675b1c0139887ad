"""Chromium, driven over a pipe: no driver, no socket, no dependency.

The DevTools protocol as NUL-separated JSON on file descriptors 3 and 4 (`--remote-debugging-pipe`). A tab keeps what
went wrong in it and every address that it asked for.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-extensions",
    "--disable-dev-shm-usage", "--mute-audio", "--remote-debugging-pipe",
)  # fmt: skip
_LAUNCH = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)
TIMEOUT_S = 20.0


def found() -> str | None:
    """Where Chromium is, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Chromium:
    """A browser with a profile of its own."""

    def __init__(self, program: str, profile: Path) -> None:
        to_browser, ours = os.pipe()
        theirs, from_browser = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCH, str(to_browser), str(from_browser), program, *FLAGS,
             f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(to_browser, from_browser), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_browser)
        os.close(from_browser)
        self._out = os.fdopen(ours, "wb", buffering=0)
        self._in = os.fdopen(theirs, "rb")
        self._number = 0
        self._answers: dict[int, queue.Queue[dict[str, Any]]] = {}
        self._tabs: dict[str, Tab] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """One command; returns its result."""
        self._number += 1
        number = self._number
        self._answers[number] = queue.Queue()
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        self._out.write(json.dumps(message).encode() + b"\0")
        answer = self._answers[number].get(timeout=TIMEOUT_S)
        del self._answers[number]
        assert "error" not in answer, (method, answer["error"])
        return dict(answer["result"])

    def open_tab(self, *, dark: bool = False, width: int = 1280, scripts: bool = True) -> Tab:
        """A tab with cookies of its own."""
        context = self.send("Target.createBrowserContext")["browserContextId"]
        target = self.send("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._tabs[session] = tab = Tab(self, session)
        for domain in ("Page", "Runtime", "Network", "Log"):
            tab.send(f"{domain}.enable")
        scheme = "dark" if dark else "light"
        tab.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        tab.resize(width)
        if not scripts:
            tab.send("Emulation.setScriptExecutionDisabled", value=True)
        return tab

    def close(self) -> None:
        """End the browser."""
        self._out.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(5)
        self._in.close()

    def _read(self) -> None:
        rest = b""
        while chunk := self._in.read1(1 << 16):  # type: ignore[attr-defined]
            *messages, rest = (rest + chunk).split(b"\0")
            for message in messages:
                self._heard(json.loads(message))

    def _heard(self, message: dict[str, Any]) -> None:
        if "id" in message:
            self._answers[message["id"]].put(message)
        elif message.get("sessionId") in self._tabs:
            self._tabs[message["sessionId"]].heard(message["method"], message["params"])


class Tab:
    """One page at a time."""

    def __init__(self, browser: Chromium, session: str) -> None:
        self._browser = browser
        self._session = session
        self._loaded = threading.Event()
        self.wrong: list[str] = []
        self.asked: list[str] = []

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command to this tab."""
        return self._browser.send(method, self._session, **parameters)

    def heard(self, method: str, event: dict[str, Any]) -> None:
        """Keep what went wrong and what was asked for."""
        if method == "Page.loadEventFired":
            self._loaded.set()
        elif method == "Network.requestWillBeSent":
            self.asked.append(event["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.wrong.append(str(event["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and event["type"] in ("error", "warning", "assert"):
            self.wrong.append(str(event["args"]))
        elif method == "Log.entryAdded" and event["entry"]["level"] in ("error", "warning"):
            self.wrong.append(f"{event['entry']['text']} {event['entry'].get('url', '')}")

    def open(self, address: str) -> None:
        """Go somewhere and wait until it is loaded."""
        self._loaded.clear()
        self.send("Page.navigate", url=address)
        assert self._loaded.wait(TIMEOUT_S), address

    def resize(self, width: int) -> None:
        """Another width."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)

    def run(self, script: str) -> Any:
        """The value of an expression, promises awaited."""
        result = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def text(self, selector: str = "body") -> str:
        """What is read in the first element that fits; empty where there is none."""
        return str(self.run(f"(document.querySelector({json.dumps(selector)})?.innerText ?? '').replace(/\\s+/g, ' ')"))

    def until(self, holds: Callable[[], Any], seconds: float = TIMEOUT_S) -> Any:
        """Wait until something holds; returns it."""
        end = time.monotonic() + seconds
        while not (value := holds()):
            assert time.monotonic() < end, f"it never came; the page says: {self.text()[:1500]}"
            time.sleep(0.1)
        return value

    def press(self, key: str) -> None:
        """Press a key that writes a character, or Enter. Chromium drops keys before it has painted the page."""
        self.until(lambda: self.run("performance.getEntriesByType('paint').length"))
        text = "\r" if key == "Enter" else key
        code = {"windowsVirtualKeyCode": 13} if key == "Enter" else {}
        self.send("Input.dispatchKeyEvent", type="keyDown", key=key, text=text, **code)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key, **code)
