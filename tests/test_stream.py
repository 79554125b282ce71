"""The coroutine API without sockets: what recv, send, close and a served handler promise, and when they give up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from wsfactory.errors import ConnectionClosed, InvalidState
from wsfactory.events import CloseCause
from wsfactory.stream import STREAM_SLOTS, Stream
from wsfactory.testing import (
    Alone,
    Cancelled,
    ClientFactory,
    ClientProtocol,
    Future,
    Futures,
    RecordingServer,
    ServerFactory,
    ServerProtocol,
    alone,
    binary,
    close,
    linked_pair,
    ping,
    text,
)

KIB = 1024
URL = "ws://localhost/"
# What may be parked beyond the high mark, and what a parked message counts beside its length.
PARKED = 64 * KIB
EACH = 64

Handler = Callable[[Any], Awaitable[object]]


class ServerStream(ServerProtocol, Stream):
    """A server's side without a framework."""

    __slots__ = STREAM_SLOTS


class ClientStream(ClientProtocol, Stream):
    """A client's side without a framework."""

    __slots__ = STREAM_SLOTS


def reader(**options: Any) -> Alone[ServerStream]:
    return alone(ServerFactory(ServerStream, **options))


def served(handler: Handler, *, opened: bool = True, **options: Any) -> Alone[ServerStream]:
    """Return a connection that *handler* serves."""

    class Served(ServerStream):
        def onOpen(self) -> None:
            self._ws_serve(handler)

    return alone(ServerFactory(Served, **options), opened=opened)


def start(coroutine: Coroutine[Any, Any, object]) -> Future:
    """Run *coroutine* as far as it goes; returns the future of its end."""
    task = Futures().from_result(coroutine)
    assert task is not None
    return task


def failure_of(future: Future) -> ConnectionClosed:
    with pytest.raises(ConnectionClosed) as raised:
        future.result()
    return raised.value


async def everything(ws: Stream) -> list[str | bytes]:
    return [message async for message in ws]


# A Close behind messages.


def test_an_echo_replies_to_all_that_came_before_a_close() -> None:
    """It is answered when the coroutine comes back for more."""

    async def echo(ws: Stream) -> None:
        async for message in ws:
            await steps[-1]
            await ws.send(message)

    steps = [Future()]
    one = served(echo)
    early = one.exchange(text("a"), text("b"), close(1000))
    steps[0].resolve()
    one.run()

    assert early == []
    assert one.peer.frames() == [text("a"), text("b"), close(1000)]


def test_recv_sees_the_end_behind_the_last_message() -> None:
    one = reader()
    one.exchange(text("a"), close(3000))
    first = start(one.session.recv()).result()
    is_open = one.session.isOpen
    info = failure_of(start(one.session.recv())).closeInfo

    assert (first, is_open) == ("a", True)
    assert info is not None
    assert (info.code, one.session.isOpen) == (3000, False)


@pytest.mark.parametrize("end", [Stream.wait_closed, Stream.close])
def test_whoever_waits_for_the_end_takes_nothing_more(end: Callable[[Stream], Coroutine[Any, Any, None]]) -> None:
    one = reader()
    one.exchange(text("a"), text("b"), close(1000))
    start(one.session.recv())
    ending = start(end(one.session))
    one.run()
    answers = one.peer.frames()
    one.peer.wire.finish()
    one.run()

    assert answers == [close(1000)]
    assert ending.done
    assert one.session.closeInfo is not None
    assert one.session.closeInfo.wasClean


def test_a_close_does_not_wait_for_a_reader_that_does_not_come_back() -> None:
    one = reader(closeHandshakeTimeout=10)
    one.exchange(text("a"), close(1000))
    start(one.session.recv())
    early = one.peer.frames()
    one.advance(5.1)

    assert early == []
    assert one.peer.frames() == [close(1000)]


# Receiving.


def test_text_comes_as_str_and_binary_as_bytes() -> None:
    one = reader()
    one.exchange(text("grüße"), binary(b"\xff"))

    assert [start(one.session.recv()).result() for _ in range(2)] == ["grüße", b"\xff"]


def test_recv_waits_for_a_message() -> None:
    one = reader()
    waiting = start(one.session.recv())
    assert not waiting.done
    one.exchange(text("here"))

    assert waiting.result() == "here"


def test_messages_that_came_with_the_handshake_are_there() -> None:
    pair = linked_pair(ServerFactory(ServerStream), opened=False)
    pair.client.onOpen = lambda: pair.client.sendMessage("first")  # type: ignore[method-assign]
    pair.run()

    assert start(pair.server.recv()).result() == "first"


def test_a_reader_that_asks_from_within_a_read_gets_every_message_in_order() -> None:
    one = reader()
    task = start(everything(one.session))
    one.exchange(*(text(str(number)) for number in range(1000)), close(1000))
    one.lose()

    assert task.result() == [str(number) for number in range(1000)]


def taken(one: Alone[Any], size: int, count: int) -> int:
    """Send *count* messages of *size* bytes, each in a read of its own; return how many the session takes."""
    frames = [binary(bytes(size)) for _ in range(count)]
    one.peer.wire.read_size = len(frames[0].encode(b"abcd"))
    one.exchange(*frames)
    return count - one.peer.wire.unsent() // one.peer.wire.read_size


@pytest.mark.parametrize(("size", "count"), [(100, 2000), (100 * KIB, 100)])
def test_a_slow_reader_holds_its_peer_back_as_a_slow_on_message_does(size: int, count: int) -> None:
    class Slow(RecordingServer):
        def onMessage(self, payload: bytes, isBinary: bool) -> Future:
            return Future()

    options: dict[str, Any] = {"maxQueue": 8, "maxQueueBytes": 256 * KIB}
    as_callback = taken(alone(ServerFactory(Slow, **options)), size, count)
    one = reader(**options)

    assert taken(one, size, count) == as_callback < count
    assert one.wire.paused


def test_a_peer_held_back_goes_on_when_messages_are_taken() -> None:
    one = reader(maxQueue=2, maxQueueBytes=0)
    one.exchange(*(binary(bytes([number]) * 16 * KIB) for number in range(50)))
    assert one.wire.paused
    got = []
    for _ in range(50):
        got.append(start(one.session.recv()).result())
        one.run()

    assert [message[0] for message in got] == list(range(50))  # type: ignore[index]
    assert not one.wire.paused


def test_pings_are_answered_while_messages_wait() -> None:
    one = reader()

    assert [frame.payload for frame in one.exchange(text("waits"), ping(b"hi"))] == [b"hi"]


def test_after_the_peers_close_recv_gives_what_had_arrived_then_raises() -> None:
    one = reader()
    one.exchange(text("one"), text("two"), close(3000, "done"))
    one.run()
    got = [start(one.session.recv()).result() for _ in range(2)]
    error = failure_of(start(one.session.recv()))

    assert got == ["one", "two"]
    assert error.closeInfo is not None
    assert (error.closeInfo.code, error.closeInfo.reason, error.closeInfo.cause) == (
        3000,
        "done",
        CloseCause.REMOTE_CLOSE,
    )


def test_after_a_loss_recv_gives_what_had_arrived_then_raises() -> None:
    one = reader()
    one.exchange(text("one"), text("two"))
    one.lose()
    got = [start(one.session.recv()).result() for _ in range(2)]
    error = failure_of(start(one.session.recv()))

    assert got == ["one", "two"]
    assert error.closeInfo is one.session.closeInfo
    assert error.closeInfo is not None
    assert (error.closeInfo.code, error.closeInfo.cause) == (1006, CloseCause.CONNECTION_LOST)


def test_a_close_frame_behind_what_was_not_read_is_still_told() -> None:
    """The loss came while the codec was stopped: the Close is seen once there is room."""
    one = reader(maxQueue=1)
    one.exchange(*(binary(bytes(PARKED)) for _ in range(2)), text("last"), close(3001))
    one.lose()
    got = [start(one.session.recv()).result() for _ in range(3)]
    error = failure_of(start(one.session.recv()))

    assert got[-1] == "last"
    assert error.closeInfo is not None
    assert error.closeInfo.code == 3001
    assert one.session.closeInfo is error.closeInfo


def test_a_waiting_recv_raises_when_the_connection_is_lost() -> None:
    one = reader()
    waiting = start(one.session.recv())
    one.lose()

    assert failure_of(waiting).closeInfo is one.session.closeInfo is not None


def test_a_waiting_recv_raises_once_we_close() -> None:
    one = reader()
    waiting = start(one.session.recv())
    one.session.sendClose(3000)
    assert not waiting.done, "nothing of ours runs inside a call of the user"
    one.run()

    info = failure_of(waiting).closeInfo
    assert info is not None
    assert (info.code, info.localCode, info.remoteCode, info.wasClean) == (3000, 3000, None, False)


def test_recv_before_the_connection_is_open_is_an_invalid_state() -> None:
    one = alone(ServerFactory(ServerStream), opened=False)

    with pytest.raises(InvalidState):
        start(one.session.recv()).result()


def test_recv_waits_while_receiving_is_paused() -> None:
    one = reader()
    one.session.pauseReceiving()
    waiting = start(one.session.recv())
    one.exchange(text("held back"))
    assert not waiting.done
    one.session.resumeReceiving()
    one.run()

    assert waiting.result() == "held back"


def test_a_second_recv_at_the_same_time_is_an_invalid_state() -> None:
    one = reader()
    first = start(one.session.recv())
    with pytest.raises(InvalidState):
        start(one.session.recv()).result()
    one.exchange(text("for the first"))

    assert first.result() == "for the first"


def test_cancelling_recv_loses_no_message() -> None:
    one = reader()
    waiting = start(one.session.recv())
    waiting.cancel()
    one.exchange(text("kept"))

    with pytest.raises(Cancelled):
        waiting.result()
    assert start(one.session.recv()).result() == "kept"


def test_whoever_gives_up_waiting_does_not_disturb_who_waits_next() -> None:
    """As with asyncio, where a cancelled task ends later than it was cancelled."""
    one = reader()
    first = one.session._ws_wait_for_arrival()
    arrival = first.send(None)
    arrival.cancel()
    second = start(one.session.recv())
    with pytest.raises(Cancelled):
        first.send(None)
    one.exchange(text("for the second"))

    assert second.result() == "for the second"


def test_async_for_ends_at_the_close_whatever_its_code() -> None:
    one = reader()
    task = start(everything(one.session))
    one.exchange(text("a"), binary(b"b"), close(1011))
    one.run()

    assert task.result() == ["a", b"b"]


def test_async_for_ends_at_a_loss() -> None:
    one = reader()
    task = start(everything(one.session))
    one.exchange(text("a"))
    one.lose()

    assert task.result() == ["a"]


def test_on_close_comes_when_everything_was_taken() -> None:
    one = reader()
    one.exchange(text("one"))
    one.lose()
    assert one.session in one.session.factory.connections
    start(one.session.recv()).result()

    assert not one.session.factory.connections


# Sending.


def test_str_goes_out_as_text_and_bytes_as_binary() -> None:
    one = reader()
    for message in "text", b"bytes", bytearray(b"array"), memoryview(b"view"):
        start(one.session.send(message)).result()

    assert one.exchange() == [text("text"), binary(b"bytes"), binary(b"array"), binary(b"view")]


def test_send_waits_above_the_high_mark_until_the_low_one() -> None:
    one = reader(writeLimit=1000)
    one.wire.room, one.wire.capacity = 0, 0
    assert start(one.session.send(bytes(900))).done
    waiting = start(one.session.send(bytes(900)))
    one.run()
    assert not waiting.done
    one.wire.room = None
    one.run()

    assert waiting.result() is None


def test_a_waiting_send_raises_once_closing_begins() -> None:
    one = reader(writeLimit=1000)
    one.wire.room, one.wire.capacity = 0, 0
    waiting = start(one.session.send(bytes(5000)))
    one.session.sendClose()
    one.run()

    assert failure_of(waiting).closeInfo is not None


def test_send_raises_after_the_close() -> None:
    one = reader()
    one.exchange(close(3000))

    info = failure_of(start(one.session.send("too late"))).closeInfo
    assert info is not None
    assert info.code == 3000


# Closing.


def test_close_waits_until_the_connection_is_gone() -> None:
    one = reader()
    closing = start(one.session.close(3000, "enough"))
    assert one.exchange() == [close(3000, "enough")]
    assert not closing.done
    one.exchange(close(3000))
    one.peer.wire.finish()
    one.run()

    assert closing.result() is None
    assert one.session.closeInfo is not None
    assert one.session.closeInfo.wasClean


def test_close_sends_what_was_queued_and_drops_what_was_not_taken() -> None:
    one = reader()
    one.exchange(text("never taken"), text("nor this"))
    one.session.sendMessage("sent before")
    start(one.session.close())
    frames = one.exchange(text("comes too late"))

    assert frames == [text("sent before"), close(1000)]
    failure_of(start(one.session.recv()))


def test_close_of_a_dead_peer_ends_at_the_deadline() -> None:
    one = reader(closeHandshakeTimeout=5)
    closing = start(one.session.close())
    one.advance(4)
    assert not closing.done
    one.advance(2)

    assert closing.result() is None
    assert one.session.closeInfo is not None
    assert one.session.closeInfo.cause is CloseCause.CLOSE_TIMEOUT


def test_close_with_a_full_queue_hears_the_peers_close_behind_it() -> None:
    one = reader(maxQueue=1)
    one.peer.wire.read_size = KIB
    one.exchange(*(binary(bytes(PARKED)) for _ in range(4)))
    assert one.wire.paused
    closing = start(one.session.close())
    one.exchange(close(1000))
    one.peer.wire.finish()
    one.run()

    assert closing.result() is None
    assert one.session.closeInfo is not None
    assert one.session.closeInfo.wasClean


def test_close_while_receiving_is_paused_ends() -> None:
    one = reader()
    one.session.pauseReceiving()
    one.exchange(text("waits"))
    closing = start(one.session.close())
    one.exchange(close(1000))
    one.peer.wire.finish()
    one.run()

    assert closing.result() is None
    assert not one.session.factory.connections


def test_close_with_a_stalled_peer_ends_at_the_deadline() -> None:
    one = reader(closeHandshakeTimeout=5)
    one.wire.room = one.wire.capacity = 0
    one.session.sendMessage(bytes(KIB), isBinary=True)
    closing = start(one.session.close())
    one.advance(6)

    assert closing.result() is None


def test_close_after_the_end_returns_at_once() -> None:
    one = reader()
    one.exchange(text("not taken"))
    one.lose()
    closing = start(one.session.close())

    assert closing.result() is None
    assert not one.session.factory.connections


def test_closing_twice_is_one_close() -> None:
    one = reader()
    both = [start(one.session.close(3000)), start(one.session.close(3001))]
    assert one.exchange(close(3000)) == [close(3000)]
    one.peer.wire.finish()
    one.run()

    assert [closing.result() for closing in both] == [None, None]


def test_close_with_a_code_that_may_not_be_sent_is_a_value_error() -> None:
    one = reader()
    with pytest.raises(ValueError, match="1006"):
        start(one.session.close(1006)).result()

    assert one.session.isOpen


def test_close_before_the_connection_is_open_drops_it() -> None:
    one = alone(ServerFactory(ServerStream), opened=False)
    closing = start(one.session.close())
    one.run()

    assert closing.result() is None
    assert one.wire.aborted


def test_wait_closed_ends_with_tcp_and_recv_still_gives_what_had_arrived() -> None:
    one = reader()
    waiting = start(one.session.wait_closed())
    one.exchange(text("here"))
    assert not waiting.done
    one.lose()

    assert waiting.result() is None
    assert one.session.closeInfo is not None
    assert start(one.session.recv()).result() == "here"


def test_async_with_closes_at_its_end() -> None:
    async def talk(ws: ClientStream) -> None:
        async with ws as same:
            await same.send("hello")

    one = alone(ClientFactory(URL, ClientStream))
    talking = start(talk(one.session))
    assert one.exchange() == [text("hello"), close(1000)]
    one.exchange(close(1000))
    one.peer.wire.finish()
    one.run()

    assert talking.done


# Being served.


def test_a_handler_that_returns_closes_with_1000() -> None:
    async def handler(ws: Stream) -> None:
        await ws.send(f"you said {await ws.recv()!s}")

    one = served(handler)

    assert one.exchange(text("hello")) == [text("you said hello"), close(1000)]


def test_a_handler_that_returns_at_once_closes_with_1000() -> None:
    async def handler(ws: Stream) -> None:
        pass

    one = served(handler)

    assert one.peer.frames() == [close(1000)]


def test_a_handler_that_raises_closes_with_1011_and_is_logged() -> None:
    async def handler(ws: Stream) -> None:
        await ws.recv()
        raise ZeroDivisionError

    one = served(handler)

    assert one.exchange(text("hello"), text("never taken")) == [close(1011, "internal error")]
    assert [type(error) for error in log_of(one).failures] == [ZeroDivisionError]


def log_of(one: Alone[Any]) -> Any:
    return one.session.factory.log


@pytest.mark.parametrize("call", ["recv", "send"])
def test_connection_closed_raised_by_a_handler_is_quiet(call: str) -> None:
    async def handler(ws: Stream) -> None:
        await ws.recv()
        await (ws.recv() if call == "recv" else ws.send(bytes(9 * KIB)))

    one = served(handler, writeLimit=KIB)
    one.wire.room = one.wire.capacity = 0
    one.exchange(text("go"), close(1001))
    one.wire.room = None
    one.run()
    one.peer.wire.finish()
    one.run()

    assert log_of(one).failures == []
    assert not one.session.factory.connections


def test_a_connection_closed_of_another_connection_is_an_error_of_the_handler() -> None:
    async def handler(ws: Stream) -> None:
        raise ConnectionClosed

    one = served(handler)

    assert one.peer.frames() == [close(1011, "internal error")]
    assert len(log_of(one).failures) == 1


def test_a_handler_that_closes_itself_goes_on_when_the_connection_is_gone() -> None:
    after = []

    async def handler(ws: Stream) -> None:
        await ws.close(3000)
        after.append(ws.closeInfo)

    one = served(handler)
    one.exchange(close(3000))
    one.peer.wire.finish()
    one.run()

    assert [info.code for info in after if info is not None] == [3000]


def test_a_handler_that_never_reads_goes_on_when_the_client_has_left() -> None:
    after = []

    async def handler(ws: Stream) -> None:
        await ws.wait_closed()
        after.append(ws.closeInfo)

    one = served(handler)
    one.exchange(text("never taken"), text("nor this"))
    one.lose()

    assert [info.cause for info in after if info is not None] == [CloseCause.CONNECTION_LOST]
    assert not one.session.factory.connections


def test_a_connection_counts_as_leaving_until_its_handler_is_done() -> None:
    going_on = Future()

    async def handler(ws: Stream) -> None:
        await going_on

    one = served(handler)
    one.lose()
    shutdown: Any = one.session.factory.shutdown(timeout=None)
    assert not shutdown.done
    going_on.resolve()

    assert shutdown.result() == []


# Shutting down.


def test_a_shutdown_makes_a_handlers_recv_raise_at_once() -> None:
    errors = []

    async def handler(ws: Stream) -> None:
        try:
            await ws.recv()
        except ConnectionClosed as error:
            errors.append(error)
            raise

    one = served(handler)
    done: Any = one.session.factory.shutdown()
    assert one.exchange() == [close(1001)]
    info = errors[0].closeInfo
    one.exchange(close(1001))
    one.peer.wire.finish()
    one.run()

    assert info is not None
    assert (info.code, info.localCode, info.cause) == (1001, 1001, CloseCause.SHUTDOWN)
    assert one.session.closeInfo is not None
    assert (one.session.closeInfo.code, one.session.closeInfo.remoteCode) == (1001, 1001)
    assert done.result() == []
    assert log_of(one).failures == []


def test_a_handler_is_cancelled_at_the_timeout_of_a_shutdown() -> None:
    ended = []

    async def handler(ws: Stream) -> None:
        try:
            await Future()
        except Cancelled:
            ended.append("cancelled")
            raise

    one = served(handler)
    done: Any = one.session.factory.shutdown(timeout=20)
    one.exchange(close(1001))
    one.advance(19)
    assert not ended
    one.advance(2)

    assert ended == ["cancelled"]
    assert done.done
    assert log_of(one).failures == []


def test_a_handler_whose_client_has_left_is_cancelled_at_the_timeout_too() -> None:
    async def handler(ws: Stream) -> None:
        await Future()

    one = served(handler)
    one.lose()
    done: Any = one.session.factory.shutdown(timeout=20)
    one.advance(21)

    assert done.result() == []
    assert not one.session.factory._leaving


def test_a_second_shutdown_cancels_and_aborts_at_once() -> None:
    async def handler(ws: Stream) -> None:
        await Future()

    one = served(handler)
    first: Any = one.session.factory.shutdown(timeout=20)
    second: Any = one.session.factory.shutdown()
    one.run()

    assert one.wire.aborted
    assert first.result() == second.result() == [one.session]
