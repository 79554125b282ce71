"""A browser talks to our server, and our client talks to the browser.

The page that the browser loads comes from our server's own port, runs its checks, and reports over one more WebSocket.
Without Chromium (Debian: ``apt-get install chromium``) these tests are skipped.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ours import End, Ours, Recorder
from twisted.internet.defer import DeferredQueue
from waiting import on_reactor

from wsfactory import Headers, Request, Response

pytestmark = pytest.mark.interop

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
)
PAGE = (Path(__file__).parent / "browser_page.html").read_text()


class Site(Recorder):
    """Answers plain requests with the page; what a connection does is in its path."""

    path: str
    reports: DeferredQueue[dict[str, Any]]
    closed: DeferredQueue[End]
    other: str

    def processRequest(self, request: Request) -> Response:
        page = PAGE.replace("OTHER_URL", type(self).other).encode()
        return Response(200, "OK", Headers({"Content-Type": "text/html; charset=utf-8"}), page)

    def onConnect(self, request: Request) -> None:
        self.path = request.path

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        match self.path:
            case "/close":
                code, reason = json.loads(payload)
                self.sendClose(code, reason)
            case "/report":
                self.reports.put(json.loads(payload))
            case _:
                self.sendMessage(payload, isBinary)

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:
        if self.path == "/closed-by-page":
            self.closed.put(End(wasClean, code, reason))


class Browser:
    """Chromium, in a process group of its own and with a new, empty profile."""

    def __init__(self, program: str, directory: Path) -> None:
        self.profile = directory / "profile"
        self._program = program
        self._log = directory / "chromium.log"
        self._process: subprocess.Popen[bytes] | None = None

    def visit(self, url: str) -> None:
        """Start at *url*."""
        command = [self._program, *FLAGS, f"--user-data-dir={self.profile}", url]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def tools(self) -> str:
        """Return the URL of its developer tools; they are there before the page is."""
        port, path = (self.profile / "DevToolsActivePort").read_text().split()
        return f"ws://127.0.0.1:{port}{path}"

    def end(self) -> None:
        """End it and the processes that it started."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """Return a browser that is ended with the test."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    found = Browser(CHROMIUM, tmp_path)
    yield found
    found.end()


@on_reactor
async def test_chromium_and_we_understand_each_other(ours: Ours, browser: Browser) -> None:
    """A page's messages come back, codes and reasons pass both ways, a foreign origin is refused; then we dial it."""
    foreign = await ours.listen()

    class ThisSite(Site):
        reports: DeferredQueue[dict[str, Any]] = DeferredQueue()
        closed: DeferredQueue[End] = DeferredQueue()
        other = foreign.url

    listening = await ours.listen(ThisSite, subprotocols=["second", "first"])
    browser.visit(listening.url.replace("ws:", "http:"))

    assert await ThisSite.reports.get() == {
        "text": True,
        "empty": True,
        "binary": True,
        "1 MiB": True,
        "many in order": True,
        "subprotocol": "second",
        "no subprotocol": "",
        "closed by server": [True, 4001, "über und aus"],
        "closed without a code": [True, 1005, ""],
        "foreign origin": [False, 1006, ""],
    }
    assert await ThisSite.closed.get() == End(True, 3001, "genug")
    assert foreign.factory.counters.opened == 0
    await ask(ours, browser)


async def ask(ours: Ours, browser: Browser) -> None:
    """Our client talks to the browser's own WebSocket server, that of its developer tools."""
    client = await ours.connect(browser.tools())
    client.sendMessage(json.dumps({"id": 1, "method": "Browser.getVersion"}))
    payload, _ = await client.messages.get()
    client.sendClose(1000)

    assert "Chrome" in json.loads(payload)["result"]["product"]
    assert (await client.ends.get()).clean
