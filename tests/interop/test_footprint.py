"""What we leave behind: lines in the log, modules in memory."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ours import Ours, Recorder
from rawsocket import RawPeer, in_thread, upgrade_request
from twisted.logger import eventAsText
from waiting import on_reactor

from wsfactory import ConnectError, ConnectionDeny, HandshakeError, Request

pytestmark = pytest.mark.interop

MESSAGES = 100
SECRETS = ("c00kie", "t0ken", "passw0rd", base64.b64encode(b"user:passw0rd").decode())
SECRET_HEADERS = {"Cookie": "session=c00kie", "Authorization": "Bearer t0ken", "Proxy-Authorization": "Basic t0ken"}

LIST_MODULES = """
import json, sys
before = set(sys.modules)
import {}
print(json.dumps(sorted(set(sys.modules) - before)))
"""
# What a plain Twisted program with endpoints loads anyway.
TWISTED_ITSELF = "twisted.internet.endpoints, twisted.internet.protocol, twisted.protocols.policies"


@on_reactor
async def test_nothing_is_logged_per_message(ours: Ours, logged: list[dict[str, Any]]) -> None:
    """Messages and Pings on an open connection write no line, at any level."""
    listening = await ours.listen()
    client = await ours.connect(listening.url)
    server = await listening.opens.get()
    lines_before = len(logged)
    for number in range(MESSAGES):
        client.sendMessage(str(number))
        client.sendPing(b"ping")
        await server.messages.get()
        await client.pongs.get()

    assert [eventAsText(event) for event in logged[lines_before:]] == []


@on_reactor
async def test_a_clean_connection_is_not_logged(ours: Ours, logged: list[dict[str, Any]]) -> None:
    """Opening and closing cleanly is nobody's news."""
    listening = await ours.listen()
    lines_before = len(logged)
    for _ in range(10):
        client = await ours.connect(listening.url)
        client.sendClose()
        await client.ends.get()

    assert [eventAsText(event) for event in logged[lines_before:]] == []


class Moody(Recorder):
    """Accepts, refuses or fails, as the path says."""

    def onConnect(self, request: Request) -> None:
        if request.path == "/refused":
            raise ConnectionDeny(403, "Forbidden", [("Set-Cookie", "session=c00kie")])
        if request.path == "/failed":
            raise RuntimeError("on purpose")


@pytest.mark.parametrize("headers", [SECRET_HEADERS, {"Cookie": "session=c00kie"}], ids=["token", "userinfo"])
@pytest.mark.parametrize("path", ["accepted", "refused", "failed"])
@on_reactor
async def test_no_secret_is_logged(
    ours: Ours, logged: list[dict[str, Any]], path: str, headers: dict[str, str]
) -> None:
    """Neither the text nor a field of any event, nor the error, shows a cookie, a token or a password."""
    listening = await ours.listen(Moody)
    url = listening.url.replace("//", "//user:passw0rd@") + path
    told = []
    try:
        client = await ours.connect(url, headers=headers)
        told.append(repr(client.factory.details))
        client.sendClose()
        await client.ends.get()
    except HandshakeError as error:
        told += [str(error), repr(error), repr(error.headers)]
    told += [eventAsText(event) + repr(event) for event in logged]

    assert [secret for secret in SECRETS if any(secret in text for text in told)] == []


@on_reactor
async def test_no_secret_is_logged_for_a_head_that_is_refused(ours: Ours, logged: list[dict[str, Any]]) -> None:
    """A malformed head is not quoted where it holds a secret."""
    listening = await ours.listen(Moody)
    for line in ("Cookie : session=c00kie", "Authorization: Bearer t0ken\x00", "Cookie session=c00kie"):
        request = upgrade_request(listening.url, "Cookie: session=c00kie", line)
        assert b"HTTP/1.1 400 " in await in_thread(_refused, listening.url, request)
    told = [eventAsText(event) + repr(event) for event in logged]

    assert [secret for secret in SECRETS if any(secret in text for text in told)] == []


def _refused(url: str, request: bytes) -> bytes:
    with RawPeer.connect(url) as peer:
        peer.send(request)
        return peer.read_to_the_end()


@on_reactor
async def test_no_password_is_in_the_error_of_a_failed_connection(ours: Ours) -> None:
    """A URL with userinfo is shown without it."""
    with pytest.raises(ConnectError) as failed:
        # Port 1 (tcpmux) is one where nobody listens.
        await ours.connect("ws://user:passw0rd@127.0.0.1:1/")

    assert "127.0.0.1:1" in str(failed.value)
    assert "passw0rd" not in str(failed.value) + repr(failed.value)


def modules_of(imported: str, directory: Path) -> list[str]:
    """Return what a new process loads for *imported*."""
    program = LIST_MODULES.format(imported)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=directory)
    modules: list[str] = json.loads(done.stdout)
    return modules


def test_the_package_itself_imports_neither_framework(tmp_path: Path) -> None:
    """``import wsfactory`` loads neither Twisted nor asyncio, nor a socket."""
    modules = modules_of("wsfactory", tmp_path)

    assert {"twisted", "asyncio", "txaio", "socket", "ssl"}.isdisjoint(modules)
    assert len(modules) < 100


def test_the_twisted_flavour_adds_only_itself_to_twisted(tmp_path: Path) -> None:
    """Beside Twisted's own, ``import wsfactory.twisted`` loads our few modules and txaio; and no reactor."""
    own = set(modules_of("wsfactory.twisted", tmp_path)) - set(modules_of(TWISTED_ITSELF, tmp_path))
    foreign = {module for module in own if module.partition(".")[0] not in ("wsfactory", "txaio")}

    assert len(own) < 60
    assert len(foreign) < 10
    assert "twisted.internet.reactor" not in own
