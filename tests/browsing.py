"""Chromium over its debugging pipe: real mouse events, emulated screens, and all it logs or asks for."""

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.processes import PATIENCE

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
)  # fmt: skip


class Browser:
    """One headless Chromium with one tab; `seen` holds its errors and requests, as text."""

    def __init__(self, folder: Path):
        if CHROMIUM is None:
            raise FileNotFoundError(
                "no chromium on the path; install it (apt-get install --no-install-recommends chromium), or "
                "leave these tests out with -m 'not browser'."
            )
        to_child, self._write = os.pipe()
        self._read, from_child = os.pipe()
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", "about:blank"]
        # The browser reads its orders from descriptor 3 and answers on 4.
        script = f'exec "$@" 3<&{to_child} 4>&{from_child}'
        self._process = subprocess.Popen(
            ["bash", "-c", script, "bash", *command],
            pass_fds=(to_child, from_child),
            env=os.environ | {"HOME": str(folder)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_child)
        os.close(from_child)
        self._ids, self._rest, self._session = itertools.count(1), b"", None
        self.seen: list[str] = []
        try:
            self._attach()
        except BaseException:
            self.__exit__()
            raise

    def _attach(self) -> None:
        """Take the one tab, and have it tell what happens there."""
        targets = self.call("Target.getTargets")["targetInfos"]
        tab = next(target["targetId"] for target in targets if target["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=tab, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "Performance"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._write)
        os.close(self._read)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send one order and return its answer; what the browser reports meanwhile goes into `seen`."""
        number = next(self._ids)
        order = {"id": number, "method": method, "params": params}
        order |= {"sessionId": self._session} if self._session else {}
        os.write(self._write, json.dumps(order).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE
        while True:
            message = self._receive(deadline)
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]
            self._note(message)

    def show(self, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Emulate a screen of this size (a phone's below 600 pixels) and scheme."""
        phone = width < 600
        screen = {"width": width, "height": height, "deviceScaleFactor": 2 if phone else 1, "mobile": phone}
        self.call("Emulation.setDeviceMetricsOverride", **screen)
        self.call("Emulation.setTouchEmulationEnabled", enabled=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        # After two frames, what was drawn last is on the screen.
        self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def open(self, page: Path, **screen: Any) -> float:
        """Open a page on a screen; return the seconds of processor time until it is ready."""
        self.show(**screen)
        self.seen.clear()
        began = self._processor_seconds()
        self.call("Page.navigate", url=page.as_uri())
        self.until("document.documentElement?.dataset.ready === 'true'")
        return self._processor_seconds() - began

    def until(self, script: str) -> None:
        """Wait until an expression in the page is true."""
        began = time.perf_counter()
        while self.run(script) is not True:
            assert time.perf_counter() - began < PATIENCE, f"not so in time: {script} ({self.seen})"
            time.sleep(0.02)

    def run(self, script: str) -> Any:
        """Return the value of an expression in the page; a promise is awaited."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def move(self, x: float, y: float) -> None:
        """Move the mouse, in two steps so that the page sees a movement."""
        for at in (x - 1, x):
            self.call("Input.dispatchMouseEvent", type="mouseMoved", x=at, y=y)

    def tap(self, x: float, y: float) -> None:
        """Touch the screen with one finger and let go."""
        self.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def click(self, x: float, y: float, *, times: int = 1) -> None:
        """Click with the left button, also twice."""
        for count in range(1, times + 1):
            for kind in ("mousePressed", "mouseReleased"):
                self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=count)

    def drag(self, start: tuple[float, float], stop: tuple[float, float]) -> None:
        """Press the left button at one place, move to another and let go."""
        self.move(*start)
        button = {"button": "left", "buttons": 1, "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type="mousePressed", x=start[0], y=start[1], **button)
        for share in (0.3, 0.6, 1.0):
            x, y = (a + share * (b - a) for a, b in zip(start, stop, strict=True))
            self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y, button="left", buttons=1)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", x=stop[0], y=stop[1], **button)

    def picture(self, path: Path, *, whole: bool = True) -> Path:
        """Save what the page looks like, all of it or what the screen shows."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))
        return path

    def _processor_seconds(self) -> float:
        metrics = self.call("Performance.getMetrics")["metrics"]
        return next(metric["value"] for metric in metrics if metric["name"] == "ProcessTime")

    def _receive(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], max(deadline - time.monotonic(), 0.0))
            assert ready, "the browser does not answer"
            read = os.read(self._read, 1 << 20)
            assert read, "the browser has closed its pipe"
            self._rest += read
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def _note(self, message: dict[str, Any]) -> None:
        method, params = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.seen.append(f"error: {params['exceptionDetails']}")
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.seen.append(f"console: {params['args']}")
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.seen.append(f"log: {params['entry']['text']}")
        elif method == "Network.requestWillBeSent" and not params["request"]["url"].startswith("file:"):
            self.seen.append(f"request: {params['request']['url'][:100]}")
