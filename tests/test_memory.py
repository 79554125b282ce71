"""What is below the test kit: wires, time and futures that do only what they are told."""

from __future__ import annotations

import pytest

from wsfactory.testing import (
    Cancelled,
    ClientFactory,
    Clock,
    Future,
    Futures,
    RecordingClient,
    RecordingServer,
    ServerProtocol,
    alone,
    linked_pair,
    text,
)


class Echo(ServerProtocol):
    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.sendMessage(payload, isBinary)


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
        def _ws_data_received(self, data: bytes) -> None:
            sizes.append(len(data))
            super()._ws_data_received(data)

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

    monkeypatch.setattr("wsfactory._memory.MAX_STEPS", 100)
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
    monkeypatch.setattr("wsfactory._memory.MAX_STEPS", 100)
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
