"""The test kit: what a user's test can rely on."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock as TwistedClock

from wsfactory import twisted
from wsfactory.http11 import Request, Response
from wsfactory.testing import (
    ClientFactory,
    Clock,
    Frame,
    RecordingClient,
    RecordingServer,
    ServerFactory,
    ServerProtocol,
    alone,
    binary,
    close,
    continuation,
    linked_pair,
    ping,
    pong,
    text,
    upgrade_request,
)


class Echo(ServerProtocol):
    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.sendMessage(payload, isBinary)


# Pairs.


def test_a_pair_carries_messages_both_ways() -> None:
    pair = linked_pair(Echo)
    pair.client.sendMessage("grüße")
    pair.client.sendMessage(b"\xff", isBinary=True)
    pair.run()

    assert pair.client.messages == ["grüße", b"\xff"]


def test_nothing_moves_before_run() -> None:
    pair = linked_pair(RecordingServer)
    pair.client.sendMessage("wait")

    assert pair.server.messages == []


def test_a_pair_that_is_not_opened_has_said_nothing() -> None:
    pair = linked_pair(RecordingServer, opened=False)

    assert pair.server.calls == []
    assert not pair.client.isOpen


def test_factories_bring_their_options() -> None:
    clock = Clock()
    server = ServerFactory(RecordingServer, reactor=clock, subprotocols=["chat"])
    client = ClientFactory("ws://localhost/", RecordingClient, reactor=clock, subprotocols=["chat"])
    pair = linked_pair(server, client)

    assert pair.server.subprotocol == pair.client.subprotocol == "chat"


def test_two_factories_need_one_clock() -> None:
    with pytest.raises(ValueError, match="same clock"):
        linked_pair(ServerFactory(RecordingServer), ClientFactory("ws://localhost/", RecordingClient))


def test_a_protocol_of_a_flavour_can_be_used_as_it_is() -> None:
    class Slow(twisted.ServerProtocol):
        async def onMessage(self, payload: bytes, isBinary: bool) -> None:
            await deferred
            self.sendMessage(payload, isBinary)

    deferred: Deferred[None] = Deferred()
    pair = linked_pair(Slow)
    pair.client.sendMessage("hello")
    pair.run()
    deferred.callback(None)
    pair.run()

    assert pair.client.messages == ["hello"]


@pytest.mark.parametrize("clock", [Clock(), TwistedClock()])
def test_a_factory_of_a_flavour_keeps_its_own_futures(clock: Clock) -> None:
    """It takes the kit's clock, or its framework's."""
    factory = twisted.ServerFactory(twisted.ServerProtocol, reactor=clock)  # type: ignore[arg-type]
    pair = linked_pair(factory)
    drained = pair.server.drain()

    assert isinstance(drained, Deferred)
    assert pair.server.isOpen


def test_a_factory_of_a_flavour_keeps_time_by_the_clock() -> None:
    clock = TwistedClock()
    session = alone(twisted.ServerFactory(twisted.ServerProtocol, reactor=clock, openHandshakeTimeout=3), opened=False)
    session.advance(2.9)
    before = session.peer.received
    session.advance(0.2)

    assert before == b""
    assert session.peer.received.startswith(b"HTTP/1.1 408")


def test_callbacks_are_recorded_in_their_order() -> None:
    pair = linked_pair(RecordingServer)
    pair.client.sendClose(1000, "bye")
    pair.run()

    assert pair.server.names == ["onConnect", "onOpen", "onClose"]
    assert pair.client.names == ["onConnecting", "onConnect", "onOpen", "onClose"]
    assert pair.server.calls[-1] == ("onClose", True, 1000, "bye")


def test_what_a_session_logs_is_collected() -> None:
    class Broken(ServerProtocol):
        def onMessage(self, payload: bytes, isBinary: bool) -> None:
            raise RuntimeError("broken")

    factory = ServerFactory(Broken)
    pair = linked_pair(factory)
    pair.client.sendMessage("x")
    pair.run()

    assert [str(error) for error in factory.log.failures] == ["broken"]
    assert ("failure", f"{Broken.__qualname__}.onMessage raised") in factory.log.lines


# A peer that the test plays.


def test_a_peer_plays_the_client() -> None:
    one = alone(Echo)

    assert one.exchange(text("a"), ping(b"b")) == [pong(b"b"), text("a")]


def test_a_peer_plays_the_server() -> None:
    one = alone(RecordingClient, opened=False)
    request = one.open(subprotocols=[], headers=[("X-Here", "yes")])

    assert isinstance(request, Request)
    assert request.target == "/"
    assert one.session.calls[1][1].headers["X-Here"] == "yes"


def test_a_peer_sees_the_head_of_a_refusal() -> None:
    one = alone(Echo, opened=False)
    one.peer.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    one.run()
    head = one.peer.head()

    assert isinstance(head, Response)
    assert head.status == 426


def test_a_peer_collects_the_frames_that_are_whole() -> None:
    one = alone(RecordingServer)
    one.session.sendMessage(b"0123456789", isBinary=True)
    one.wire.room = 5
    one.run()
    early = one.peer.frames()
    one.wire.room = None
    one.run()

    assert early == []
    assert one.peer.frames() == [binary(b"0123456789")]


def test_a_peer_sees_the_end() -> None:
    one = alone(Echo)
    one.session.dropConnection(abort=True)
    one.run()

    assert one.peer.lost == "the connection was reset by the peer"


# Frames.


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
@pytest.mark.parametrize("key", [None, b"abcd"])
def test_a_frame_is_parsed_as_it_was_encoded(size: int, key: bytes | None) -> None:
    frame = Frame(2, bytes(range(256)) * (size // 256) + bytes(range(size % 256)), fin=False, rsv=4)

    assert Frame.parse(frame.encode(key) + b"rest") == (frame, b"rest")


def test_a_frame_is_parsed_once_it_is_whole() -> None:
    data = text("hello").encode(b"abcd")

    assert [Frame.parse(data[:size]) for size in range(len(data))] == [None] * len(data)


def test_frames_encode_as_the_rfc_shows() -> None:
    """The examples of RFC 6455 section 5.7."""
    assert text("Hello").encode() == bytes.fromhex("810548656c6c6f")
    assert text("Hello").encode(bytes.fromhex("37fa213d")) == bytes.fromhex("818537fa213d7f9f4d5158")
    assert text("Hel", fin=False).encode() == bytes.fromhex("010348656c")
    assert continuation(b"lo").encode() == bytes.fromhex("80026c6f")
    assert ping(b"Hello").encode() == bytes.fromhex("890548656c6c6f")
    assert binary(bytes(256)).encode() == bytes.fromhex("827e0100") + bytes(256)
    assert close(1000, "x").encode() == bytes.fromhex("880303e878")


def test_a_request_can_ask_for_anything() -> None:
    request = upgrade_request("ws://example.com/x?y=1", subprotocols=["a", "b"], headers={"Origin": "null"})

    assert request.startswith(b"GET /x?y=1 HTTP/1.1\r\nHost: example.com\r\n")
    assert b"\r\nSec-WebSocket-Protocol: a, b\r\n" in request
    assert b"\r\nOrigin: null\r\n" in request
