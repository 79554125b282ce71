"""Pings that are waited for: which Pong answers which, what it tells, and when none will come."""

from __future__ import annotations

from typing import Any

import pytest

from wsfactory.errors import ConnectionClosed, InvalidState
from wsfactory.frames import Opcode
from wsfactory.keepalive import RoundTrips
from wsfactory.testing import Alone, Clock, Future, Futures, RecordingServer, alone, close, pong, text


def round_trips() -> tuple[RoundTrips, Clock]:
    clock = Clock()
    return RoundTrips(Futures(), clock.seconds), clock


def begun(trips: RoundTrips, payload: bytes | None = None) -> tuple[bytes, Future]:
    data, future = trips.begin(payload)
    assert isinstance(future, Future)
    return data, future


def pinging(one: Alone[RecordingServer]) -> Any:
    return one.session.ping()


def test_a_round_trip_is_the_time_from_the_ping_to_its_pong() -> None:
    trips, clock = round_trips()
    payload, future = begun(trips)
    clock.advance(0.25)
    trips.pong(payload)

    assert future.result() == trips.latency == 0.25


def test_a_later_pong_answers_earlier_pings() -> None:
    """5.5.3: a peer may answer only the most recent Ping."""
    trips, clock = round_trips()
    _, first = begun(trips)
    clock.advance(1)
    payload, second = begun(trips)
    _, third = begun(trips)
    clock.advance(1)
    trips.pong(payload)

    assert (first.result(), second.result(), third.done, trips.latency) == (2, 1, False, 1)


def test_a_foreign_pong_answers_nothing() -> None:
    trips, _ = round_trips()
    payload, future = begun(trips)
    trips.pong(b"not " + payload)
    trips.pong(b"")

    assert not future.done
    assert trips.latency is None


def test_pings_have_different_payloads() -> None:
    trips, _ = round_trips()
    payloads = {begun(trips)[0] for _ in range(100)}

    assert len(payloads) == 100


def test_of_two_pings_with_one_payload_each_pong_answers_one() -> None:
    trips, _ = round_trips()
    futures = [begun(trips, b"same")[1] for _ in range(2)]
    trips.pong(b"same")

    assert [future.done for future in futures] == [True, False]


def test_a_cancelled_ping_does_not_disturb_those_behind_it() -> None:
    trips, _ = round_trips()
    _, first = begun(trips)
    payload, second = begun(trips)
    first.cancel()
    trips.pong(payload)

    assert second.result() == 0


def test_latency_is_none_before_the_first_round_trip() -> None:
    one = alone(RecordingServer)
    assert one.session.latency is None
    ping = pinging(one)
    sent = one.exchange()
    one.advance(0.5)
    one.exchange(pong(sent[0].payload))

    assert sent[0].opcode == Opcode.PING
    assert ping.result() == one.session.latency == pytest.approx(0.5)


def test_the_pong_of_a_ping_is_told_to_the_application_too() -> None:
    one = alone(RecordingServer)
    one.session.ping(b"hi")
    one.exchange(pong(b"hi"))

    assert one.session.calls[-1] == ("onPong", b"hi")


def test_a_ping_overtakes_waiting_messages() -> None:
    one = alone(RecordingServer)
    one.wire.room = one.wire.capacity = 0
    for _ in range(2):
        one.session.sendMessage("m" * 70_000)
    one.session.ping(b"urgent")
    one.wire.room = None

    opcodes = [frame.opcode for frame in one.exchange()]
    assert opcodes == [Opcode.TEXT, Opcode.PING, Opcode.TEXT]


def test_waiting_pings_fail_when_closing_begins() -> None:
    one = alone(RecordingServer)
    ping = pinging(one)
    one.session.sendClose()
    assert not ping.done, "nothing of the user's runs inside a call of the user's"
    one.run()

    with pytest.raises(ConnectionClosed):
        ping.result()


def test_waiting_pings_fail_when_the_peer_closes_and_when_the_connection_is_lost() -> None:
    closed, lost = alone(RecordingServer), alone(RecordingServer)
    pings = [pinging(closed), pinging(lost)]
    closed.exchange(text("last"), close(1000))
    lost.lose()

    for ping in pings:
        with pytest.raises(ConnectionClosed):
            ping.result()


def test_a_ping_on_a_closing_connection_fails() -> None:
    one = alone(RecordingServer)
    one.session.sendClose()

    with pytest.raises(ConnectionClosed):
        pinging(one).result()


def test_a_ping_before_the_connection_is_open_is_an_invalid_state() -> None:
    with pytest.raises(InvalidState):
        pinging(alone(RecordingServer, opened=False)).result()


def test_a_ping_of_126_bytes_is_a_value_error() -> None:
    one = alone(RecordingServer)
    with pytest.raises(ValueError, match="126"):
        one.session.ping(bytes(126))

    assert one.exchange() == []
