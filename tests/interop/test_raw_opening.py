"""Opening handshakes byte for byte: what browsers send, what attackers send, what arrives early or in pieces."""

from __future__ import annotations

import struct
from typing import Any
from urllib.parse import urlsplit

import pytest
from ours import End, Ours, Recorder
from rawsocket import (
    ACCEPT,
    CLOSE,
    FIN,
    TEXT,
    RawPeer,
    RawServer,
    close_frame,
    frame,
    frames,
    in_thread,
    upgrade_request,
)
from twisted.internet.defer import CancelledError, Deferred, DeferredQueue
from waiting import on_reactor

from wsfactory import CloseCause, ConnectionDeny, HandshakeTimeout, Request

pytestmark = pytest.mark.interop

SOON = 0.2

# What the two browsers send, line for line (their own Host and Origin).
FIREFOX = """\
GET /chat HTTP/1.1
Host: {netloc}
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0
Accept: */*
Accept-Language: en-US,en;q=0.5
Accept-Encoding: gzip, deflate, br, zstd
Sec-WebSocket-Version: 13
Origin: http://{netloc}
Sec-WebSocket-Extensions: permessage-deflate
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==
Connection: keep-alive, Upgrade
Cookie: one=1; two=2
Sec-Fetch-Dest: empty
Sec-Fetch-Mode: websocket
Sec-Fetch-Site: same-origin
Pragma: no-cache
Cache-Control: no-cache
Upgrade: websocket

"""
CHROMIUM = """\
GET /chat HTTP/1.1
Host: {netloc}
Connection: Upgrade
Pragma: no-cache
Cache-Control: no-cache
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36
Upgrade: websocket
Origin: http://{netloc}
Sec-WebSocket-Version: 13
Accept-Encoding: gzip, deflate, br, zstd
Accept-Language: en-US,en;q=0.9
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==
Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits

"""


class Echo(Recorder):
    """Sends every message back."""

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.sendMessage(payload, isBinary)


def converse(url: str, request: bytes) -> tuple[str, bytes]:
    """Send *request* and a text behind it in one packet; return the answer's head, and everything after it."""
    with RawPeer.connect(url) as peer:
        peer.send(request + frame(FIN | TEXT, b"hello") + close_frame(1000))
        return peer.read_head().decode(), peer.read_to_the_end()


ECHOED = [(FIN | TEXT, b"hello"), (FIN | CLOSE, struct.pack("!H", 1000))]


@pytest.mark.parametrize("browser", [FIREFOX, CHROMIUM], ids=["firefox", "chromium"])
@on_reactor
async def test_browsers_requests_are_accepted(ours: Ours, browser: str) -> None:
    """A browser's request, byte for byte, opens a connection that echoes; compression is not agreed on unasked."""
    listening = await ours.listen(Echo)
    request = browser.format(netloc=urlsplit(listening.url).netloc).replace("\n", "\r\n").encode()
    head, rest = await in_thread(converse, listening.url, request)

    assert head.startswith("HTTP/1.1 101 ")
    assert f"Sec-WebSocket-Accept: {ACCEPT}\r\n" in head
    assert frames(rest) == ECHOED


@pytest.mark.parametrize(
    "extensions",
    [
        ["x-unknown", "permessage-deflate"],
        ["x-unknown; what=ever, permessage-deflate; client_max_window_bits"],
        ["permessage-deflate; server_max_window_bits=99"],
        ["permessage-deflate; nonsense", "permessage-deflate; client_max_window_bits=10"],
        ['x-quoted; value="a"'],
    ],
)
@on_reactor
async def test_offers_are_declined_and_not_an_error(ours: Ours, extensions: list[str]) -> None:
    """Several Sec-WebSocket-Extensions lines, unknown or impossible offers: the connection works without them."""
    listening = await ours.listen(Echo, compression=None)
    lines = [f"Sec-WebSocket-Extensions: {offer}" for offer in extensions]
    head, rest = await in_thread(converse, listening.url, upgrade_request(listening.url, *lines))

    assert head.startswith("HTTP/1.1 101 ")
    assert "sec-websocket-extensions" not in head.lower()
    assert frames(rest) == ECHOED


class Asked(Echo):
    """Keeps the requests that onConnect was shown."""

    requests: DeferredQueue[Request] = DeferredQueue()

    def onConnect(self, request: Request) -> None:
        self.requests.put(request)


@on_reactor
async def test_several_cookie_lines_stay_apart(ours: Ours) -> None:
    """Header fields that come several times are several values, in their order."""
    listening = await ours.listen(Asked)
    request = upgrade_request(listening.url, "Cookie: a=1, b=2", "X-One: 1", "cookie: c=3")
    await in_thread(converse, listening.url, request)
    asked = await Asked.requests.get()

    assert asked.headers.get_all("Cookie") == ["a=1, b=2", "c=3"]


@pytest.mark.parametrize(
    "line",
    [*(f"X: a{control}Y: b" for control in "\x00\x0b\x0c\x1c\n\r"), "X : a", "X: a\r\n b", "X"],
    ids=repr,
)
@on_reactor
async def test_lines_that_could_be_read_as_two_are_refused(ours: Ours, line: str) -> None:
    """Control characters, folded lines, a space before the colon, no colon: 400, and nobody is asked."""
    listening = await ours.listen(Echo)
    head, _ = await in_thread(refused, listening.url, upgrade_request(listening.url, line))

    assert head.startswith("HTTP/1.1 400 ")
    assert listening.factory.counters.opened == 0


@on_reactor
async def test_obs_text_does_not_end_a_line(ours: Ours) -> None:
    """The byte 0x85, a line end to some, is a byte of the value."""
    listening = await ours.listen(Asked)
    await in_thread(converse, listening.url, upgrade_request(listening.url, "X: a\x85Y: b"))
    asked = await Asked.requests.get()

    assert asked.headers.get("X") == "a\x85Y: b"
    assert "Y" not in asked.headers


class Injecting(Recorder):
    """Answers with what the path names."""

    def onConnect(self, request: Request) -> Any:
        evil = "x\r\nInjected: yes"
        match request.path:
            case "/reason":
                raise ConnectionDeny(403, evil)
            case "/header":
                raise ConnectionDeny(403, "Forbidden", {"X": evil})
            case "/name":
                raise ConnectionDeny(403, "Forbidden", {evil: "x"})
            case "/accepted":
                return None, {"X": evil}
            case _:
                return evil


@pytest.mark.parametrize("path", ["reason", "header", "name", "accepted", "subprotocol"])
@on_reactor
async def test_nothing_is_injected_into_an_answer(ours: Ours, path: str) -> None:
    """An application that passes on a CR LF gets a plain 500."""
    listening = await ours.listen(Injecting)
    url = f"{listening.url}{path}"
    head, body = await in_thread(refused, url, upgrade_request(url, "Sec-WebSocket-Protocol: x"))

    assert head.startswith("HTTP/1.1 500 ")
    assert "injected" not in head.lower()
    assert b"njected" not in body


@on_reactor
async def test_endless_headers_are_refused_and_the_refusal_can_be_read(ours: Ours) -> None:
    """A client that sends 13 MB of headers gets 431, though it looks at the answer only afterwards."""
    listening = await ours.listen(Echo)
    endless = upgrade_request(listening.url)[:-2] + b"".join(b"X-%d: %s\r\n" % (n, b"x" * 8000) for n in range(1600))
    head, _ = await in_thread(refused, listening.url, endless)

    assert head.startswith("HTTP/1.1 431 ")
    assert listening.factory.counters.opened == 0


@on_reactor
async def test_an_endless_request_line_is_refused(ours: Ours) -> None:
    """A target beyond 8 KiB is 414."""
    listening = await ours.listen(Echo)
    head, _ = await in_thread(refused, listening.url, b"GET /" + b"x" * 100_000)

    assert head.startswith("HTTP/1.1 414 ")


@on_reactor
async def test_an_old_version_is_told_the_new_one(ours: Ours) -> None:
    """Another Sec-WebSocket-Version gets 426 with the one that we speak."""
    listening = await ours.listen(Echo)
    head, _ = await in_thread(refused, listening.url, upgrade_request(listening.url, version="8"))

    assert head.startswith("HTTP/1.1 426 ")
    assert "Sec-WebSocket-Version: 13\r\n" in head


@on_reactor
async def test_a_plain_get_is_told_to_upgrade(ours: Ours) -> None:
    """A request that is no upgrade gets 426 with Upgrade: websocket and a line that says why."""
    listening = await ours.listen(Echo)
    head, body = await in_thread(refused, listening.url, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")

    assert head.startswith("HTTP/1.1 426 ")
    assert "Upgrade: websocket\r\n" in head
    assert b"WebSocket" in body


@on_reactor
async def test_a_handshake_and_frames_byte_by_byte(ours: Ours) -> None:
    """However the bytes are cut, the connection opens and echoes."""
    listening = await ours.listen(Echo)

    def conversation() -> bytes:
        with RawPeer.connect(listening.url) as peer:
            for byte in upgrade_request(listening.url):
                peer.send(bytes([byte]))
            peer.read_head()
            for byte in frame(FIN | TEXT, b"hello") + close_frame(1000):
                peer.send(bytes([byte]))
            return peer.read_to_the_end()

    assert frames(await in_thread(conversation)) == ECHOED


@on_reactor
async def test_frames_that_come_with_the_servers_answer_follow_on_open(ours: Ours) -> None:
    """Messages in one packet with the 101 are delivered in order, after onOpen; so is the Close."""
    early = b"".join(frame(FIN | TEXT, b"%d" % number, masked=False) for number in range(3))
    with RawServer() as server:

        def conversation() -> bytes:
            with server.open(behind=early + close_frame(3000, masked=False)) as peer:
                peer.shut_down_sending()
                return peer.read_to_the_end()

        conversing = in_thread(conversation)
        session = await ours.connect(server.url)

        assert await session.ends.get() == End(True, 3000, "")
        assert session.messages.pending == [(b"0", False), (b"1", False), (b"2", False)]
        assert frames(await conversing) == [(FIN | CLOSE, struct.pack("!H", 3000))]


class Undecided(Recorder):
    """Takes its time over onConnect, until the test decides."""

    # In a tuple, because no Deferred may have a Deferred as its result.
    asked: DeferredQueue[tuple[Deferred[None]]] = DeferredQueue()

    def onConnect(self, request: Request) -> Deferred[None]:
        decision: Deferred[None] = Deferred()
        self.asked.put((decision,))
        return decision


@on_reactor
async def test_a_pending_connection_is_cancelled_when_its_client_leaves(ours: Ours) -> None:
    """onConnect's Deferred is cancelled, onOpen never called, onClose once."""
    ends: DeferredQueue[End] = DeferredQueue()

    class Leaving(Undecided):
        def onClose(self, wasClean: bool, code: int, reason: str) -> None:
            ends.put(End(wasClean, code, reason))

    listening = await ours.listen(Leaving)
    peer = await in_thread(RawPeer.connect, listening.url)
    peer.send(upgrade_request(listening.url))
    (decision,) = await Undecided.asked.get()
    peer.reset()
    with pytest.raises(CancelledError):
        await decision

    assert (await ends.get())[:2] == (False, 1006)
    assert listening.factory.counters.opened == 0
    assert not listening.factory.openings


@on_reactor
async def test_a_second_pipelined_request_does_not_connect_again(ours: Ours) -> None:
    """A GET behind the first is no frame: onConnect is asked once, then 1002."""
    listening = await ours.listen(Undecided)
    request = upgrade_request(listening.url)
    peer = await in_thread(RawPeer.connect, listening.url)
    peer.send(request + request)
    (decision,) = await Undecided.asked.get()
    decision.callback(None)

    def conversation() -> tuple[bytes, bytes]:
        with peer:
            return peer.read_head(), peer.read_to_the_end()

    head, rest = await in_thread(conversation)
    ((first_byte, payload),) = frames(rest)
    assert head.startswith(b"HTTP/1.1 101 ")
    assert (first_byte, payload[:2]) == (FIN | CLOSE, struct.pack("!H", 1002))
    assert not Undecided.asked.pending


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n"], ids=["nothing", "half a head"])
@on_reactor
async def test_a_client_that_does_not_finish_its_request_is_told_so(ours: Ours, said: bytes) -> None:
    """After openHandshakeTimeout the answer is 408, and the connection ends in order."""
    listening = await ours.listen(openHandshakeTimeout=SOON)
    head, _ = await in_thread(refused, listening.url, said)

    await ours.waited(listening.factory.shutdown())

    assert head.startswith("HTTP/1.1 408 ")
    assert listening.factory.counters.failed == {CloseCause.OPEN_TIMEOUT: 1}


@pytest.mark.parametrize(("scheme", "said"), [("ws", b""), ("ws", b"HTTP/1.1 101 Switching\r\n"), ("wss", b"")])
@on_reactor
async def test_a_server_that_does_not_finish_its_answer_is_left(ours: Ours, scheme: str, said: bytes) -> None:
    """After openHandshakeTimeout connect fails with HandshakeTimeout, and the server sees us go."""
    with RawServer() as server:

        def conversation() -> bytes:
            with server.accept() as peer:
                peer.send(said)
                return peer.read_until_gone()

        conversing = in_thread(conversation)
        with pytest.raises(HandshakeTimeout):
            await ours.connect(server.url.replace("ws:", f"{scheme}:"), openHandshakeTimeout=SOON)

        assert await conversing


def refused(url: str, request: bytes) -> tuple[str, bytes]:
    """Send all of *request*, then read the refusal's head and body up to the orderly end of the connection."""
    with RawPeer.connect(url) as peer:
        peer.send(request)
        return peer.read_head().decode("latin-1"), peer.read_to_the_end()
