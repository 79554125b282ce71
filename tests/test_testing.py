"""The test kit: what a user's test can rely on."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock as TwistedClock

from wsfactory import twisted
from wsfactory.http11 import Request, Response
from wsfactory.testing import (
    Cancelled,
    ClientFactory,
    Clock,
    Frame,
    Future,
    Futures,
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


# The wire.


def test_a_wire_without_room_keeps_what_is_written() -> None:
    pair = linked_pair(RecordingServer)
    pair.client_wire.room = 0
    pair.client.sendMessage("later")
    pair.run()
    before = pair.server.messages
    pair.client_wire.room = None
    pair.run()

    assert before == []
    assert pair.server.messages == ["later"]


def test_a_full_wire_says_so_until_the_other_side_took_enough() -> None:
    pair = linked_pair(RecordingServer, ClientFactory("ws://localhost/", RecordingClient, writeLimit=1000))
    pair.client_wire.capacity = pair.client_wire.room = 0
    for _ in range(3):
        pair.client.sendMessage(bytes(1000), isBinary=True)
    pair.run()
    written = sum(map(len, pair.client_wire.writes[1:]))
    pair.client_wire.room = None
    pair.run()

    assert written == 1000
    assert pair.server.messages == [bytes(1000)] * 3


def test_a_read_is_no_larger_than_the_wire_lets_it_be() -> None:
    sizes = []

    class Reader(RecordingServer):
        def data_received(self, data: bytes) -> None:
            sizes.append(len(data))
            super().data_received(data)

    pair = linked_pair(Reader)
    pair.client_wire.read_size = 3
    sizes.clear()
    pair.client.sendMessage("12345678")
    pair.run()

    assert sizes == [3, 3, 3, 3, 2]
    assert pair.server.messages == ["12345678"]


def test_losing_the_connection_tells_both_sides() -> None:
    pair = linked_pair(RecordingServer)
    pair.client.sendMessage("lost")
    pair.lose("the cable was cut")

    assert pair.server.calls[-1] == pair.client.calls[-1] == ("onClose", False, 1006, "the cable was cut")
    assert pair.server.messages == []


def test_a_paused_end_sees_neither_data_nor_eof() -> None:
    one = alone(RecordingServer)
    one.wire.pause()
    one.peer.send(text("x"))
    one.peer.wire.finish()
    one.run()
    before = one.session.names
    one.wire.resume()
    one.run()

    assert before == ["onConnect", "onOpen"]
    assert one.session.names == ["onConnect", "onOpen", "onMessage", "onClose"]


# Time.


def test_time_passes_only_when_told_to() -> None:
    clock = Clock()
    called: list[float] = []
    clock.callLater(2, lambda: called.append(clock.seconds()))
    clock.callLater(1, lambda: called.append(clock.seconds()))
    clock.callLater(1.5, called.append, -1).cancel()
    clock.advance(0.9)
    before = [*called]
    clock.advance(5)

    assert before == []
    assert called == [1, 2]
    assert clock.seconds() == 5.9


def test_calls_that_never_end_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def again() -> None:
        clock.callLater(0, again)

    monkeypatch.setattr("wsfactory.testing.MAX_STEPS", 100)
    clock = Clock()
    clock.callLater(1, again)

    with pytest.raises(RuntimeError, match="rest"):
        clock.advance(1)


def test_bytes_move_between_two_calls_of_the_clock() -> None:
    pair = linked_pair(Echo)
    for delay in (1, 2):
        pair.clock.callLater(delay, pair.client.sendMessage, str(delay))
    pair.clock.callLater(1.5, lambda: pair.client.calls.append(("between",)))
    pair.advance(3)

    assert pair.client.names[-3:] == ["onMessage", "between", "onMessage"]


def test_two_sides_that_never_rest_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Restless(RecordingServer):
        def onMessage(self, payload: bytes, isBinary: bool) -> None:
            self.sendMessage(payload)

    class Repeating(RecordingClient):
        def onMessage(self, payload: bytes, isBinary: bool) -> None:
            self.sendMessage(payload)

    pair = linked_pair(Restless, Repeating)
    monkeypatch.setattr("wsfactory.testing.MAX_STEPS", 100)
    pair.client.sendMessage("again")

    with pytest.raises(RuntimeError, match="rest"):
        pair.run()


# Futures.


def test_a_future_can_be_awaited_and_watched() -> None:
    async def double() -> int:
        return 2 * await future  # type: ignore[operator]

    future, futures, told = Future(), Futures(), []  # type: ignore[var-annotated]
    task = futures.from_result(double())
    futures.watch(task, told.append, told.append)
    future.resolve(21)

    assert told == [42]


def test_a_future_that_fails_raises_in_who_awaits_it() -> None:
    async def wait() -> str:
        try:
            await future
        except KeyError:
            return "caught"
        return "nothing"

    future = Future()
    task = Futures().from_result(wait())
    future.reject(KeyError())

    assert task is not None
    assert task.result() == "caught"


def test_cancelling_reaches_what_is_awaited() -> None:
    async def wait() -> None:
        try:
            await future
        finally:
            told.append("cleaned up")

    told: list[str] = []
    future = Future(lambda: told.append("cancelled"))
    task = Futures().from_result(wait())
    assert task is not None
    task.cancel()

    assert told == ["cancelled", "cleaned up"]
    with pytest.raises(Cancelled):
        task.result()


def test_a_future_has_one_result() -> None:
    future = Future()
    future.resolve(1)
    future.reject(KeyError())
    future.cancel()

    assert future.result() == 1


def test_what_cannot_be_awaited_is_an_error() -> None:
    class Odd:
        def __await__(self):  # type: ignore[no-untyped-def]
            yield "odd"

    task = Futures().from_result(Odd())

    assert task is not None
    with pytest.raises(TypeError, match="odd"):
        task.result()


def test_a_request_can_ask_for_anything() -> None:
    request = upgrade_request("ws://example.com/x?y=1", subprotocols=["a", "b"], headers={"Origin": "null"})

    assert request.startswith(b"GET /x?y=1 HTTP/1.1\r\nHost: example.com\r\n")
    assert b"\r\nSec-WebSocket-Protocol: a, b\r\n" in request
    assert b"\r\nOrigin: null\r\n" in request
