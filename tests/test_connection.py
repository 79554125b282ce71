"""One connection without I/O: the state table, both closing handshakes, and what is told of every end."""

from __future__ import annotations

import pytest

from wsfactory.connection import TRANSITIONS, Connection, Move, State
from wsfactory.events import CloseCause, CloseInfo
from wsfactory.frames import close_payload
from wsfactory.options import Options, changed
from wsfactory.testing import Frame, binary, close, ping, pong, text

NO_CLOSE = "the peer ended the connection without a Close frame"


class Told:
    """An owner that notes what it is told; it sends a Close frame at once, unless *sends* is False."""

    def __init__(self, is_client: bool = False, sends: bool = True, **options: object) -> None:
        self.calls: list[object] = []
        self.sends = sends
        self.answers = True
        self.stop_at: bytes | None = None
        self.connection = Connection(is_client, changed(Options(), options), self)

    def receive(self, *frames: Frame) -> list[object]:
        """Let *frames* arrive in one piece; return all that was told so far."""
        key = None if self.connection.is_client else b"abcd"
        self.connection.receive(b"".join(frame.encode(key) for frame in frames))
        return self.calls

    def sent(self) -> None:
        """Let the Close leave."""
        self.connection.close_sent()

    @property
    def state(self) -> State:
        return self.connection.state

    @property
    def info(self) -> CloseInfo:
        return self.connection.close_info

    def message(self, payload: bytes, is_binary: bool) -> object:
        self.calls.append(payload if is_binary else payload.decode())
        return payload == self.stop_at

    def ping(self, payload: bytes) -> None:
        self.calls.append(ping(payload))

    def pong(self, payload: bytes) -> None:
        self.calls.append(pong(payload))

    def may_answer(self) -> bool:
        return self.answers

    def send_close(self, payload: bytes | None) -> None:
        self.calls.append(("close", payload))
        if self.sends:
            self.sent()

    def closing(self) -> None:
        self.calls.append("closing")

    def end_tcp(self) -> None:
        self.calls.append("end TCP")

    def await_eof(self) -> None:
        self.calls.append("await EOF")

    def drop(self) -> None:
        self.calls.append("drop")


def lose(told: Told) -> CloseInfo:
    told.connection.lost(CloseCause.CONNECTION_LOST, "gone")
    return told.info


# The table. Each state is reached by a way of its own, each move made by what makes it in life.


def hear_a_close_while_busy(told: Told) -> None:
    """The peer's Close arrives, and its answer has to wait."""
    told.answers = False
    told.receive(close(1000))


WAYS = {
    State.OPEN: lambda told: None,
    State.PEER_CLOSED: hear_a_close_while_busy,
    State.CLOSE_WAITING: lambda told: told.connection.close(1000, ""),
    State.CLOSE_SENT: lambda told: (told.connection.close(1000, ""), told.sent()),
    State.LAST_WORDS: lambda told: told.receive(close(1000)),
    State.ENDING: lambda told: (told.receive(close(1000)), told.sent()),
    State.CLOSED: lose,
}
MOVES = {
    Move.CLOSE: lambda told: told.connection.close(1001, ""),
    Move.PEER_CLOSE: hear_a_close_while_busy,
    Move.FAIL: lambda told: told.connection.fail(1002, "why", CloseCause.PROTOCOL_ERROR),
    Move.SENT: lambda told: told.sent(),
    Move.LOST: lose,
}


def test_every_state_and_every_move_is_tried() -> None:
    assert set(WAYS) == set(State)
    assert set(MOVES) == set(Move)


@pytest.mark.parametrize("state", State)
def test_each_way_leads_to_its_state(state: State) -> None:
    told = Told(sends=False)
    WAYS[state](told)

    assert told.state is state


@pytest.mark.parametrize(("state", "move"), TRANSITIONS)
def test_a_legal_move_leads_where_the_table_says(state: State, move: Move) -> None:
    told = Told(sends=False)
    WAYS[state](told)
    MOVES[move](told)

    assert told.state is TRANSITIONS[state, move]


@pytest.mark.parametrize("state", set(State) - {State.CLOSED})
@pytest.mark.parametrize("move", set(Move) - {Move.LOST})
def test_what_the_table_does_not_have_changes_nothing(state: State, move: Move) -> None:
    """Whoever closes twice, or fails what has ended, is not told so: it is where they wanted to be."""
    told = Told(sends=False)
    WAYS[state](told)
    before = [*told.calls]
    if (state, move) in TRANSITIONS:
        return
    MOVES[move](told)

    assert told.state is state
    assert told.calls == before


def test_losing_a_lost_connection_is_an_illegal_move() -> None:
    told = Told()
    lose(told)

    with pytest.raises(KeyError):
        lose(told)


# The closing handshake.


def test_closing_sends_the_code_and_waits_for_the_answer() -> None:
    told = Told()
    told.connection.close(4000, "reason")

    assert told.calls == ["closing", ("close", close_payload(4000, "reason"))]
    assert told.state is State.CLOSE_SENT


def test_a_server_ends_tcp_when_both_have_closed() -> None:
    """7.1.1: "The underlying TCP connection, in most normal cases, SHOULD be closed first by the server"."""
    told = Told(is_client=False)
    told.connection.close(1000, "")

    assert told.receive(close(1000))[2:] == ["end TCP"]


def test_a_client_waits_for_the_server_to_end_tcp() -> None:
    told = Told(is_client=True)
    told.connection.close(1000, "")

    assert told.receive(close(1000))[2:] == ["await EOF"]


@pytest.mark.parametrize(("is_client", "end"), [(False, "end TCP"), (True, "await EOF")])
def test_a_close_is_answered_with_its_code(is_client: bool, end: str) -> None:
    told = Told(is_client)

    assert told.receive(close(4321, "bye")) == ["closing", ("close", close_payload(4321)), end]


def test_a_close_without_a_code_is_answered_without_one() -> None:
    told = Told()

    assert told.receive(close())[:2] == ["closing", ("close", b"")]
    assert lose(told).code == 1005


@pytest.mark.parametrize("frame", [close(), close(1000), close(1011, "sorry"), close(3000), close(4999)])
def test_a_close_may_be_answered_later(frame: Frame) -> None:
    """Messages may be sent until then; nothing is read any more."""
    told = Told()
    told.answers = False
    told.receive(frame, text("behind"))
    early = list(told.calls), told.connection.is_open
    told.connection.answer()
    told.connection.answer()

    assert early == ([], True)
    assert told.calls == ["closing", ("close", frame.payload[:2]), "end TCP"]
    assert told.info.wasClean


def test_a_close_that_crosses_ours_is_the_answer() -> None:
    told = Told(sends=False)
    told.connection.close(1000, "")
    told.receive(close(1001))
    told.sent()

    assert told.calls == ["closing", ("close", close_payload(1000)), "end TCP"]
    assert lose(told) == CloseInfo(True, 1001, "", CloseCause.LOCAL_CLOSE, "local", 1000, "", 1001, "")


def test_the_second_close_says_nothing() -> None:
    told = Told(sends=False)
    told.connection.close(1000, "")
    told.connection.close(1001, "")

    assert told.calls == ["closing", ("close", close_payload(1000))]


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 4999])
def test_every_code_that_may_be_sent_can_be_sent(code: int) -> None:
    told = Told()
    told.connection.close(code, "")

    assert ("close", close_payload(code)) in told.calls


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65536])
@pytest.mark.parametrize("state", [State.OPEN, State.CLOSE_SENT])
def test_no_other_code_can_be_sent(code: int, state: State) -> None:
    """The mistake is told at every time, not only when the code would leave."""
    told = Told()
    WAYS[state](told)

    with pytest.raises(ValueError, match=str(code)):
        told.connection.close(code, "")
    assert told.state is state


def test_a_long_reason_is_told_as_it_was_sent() -> None:
    told = Told()
    told.connection.close(1000, "ü" * 100)

    assert lose(told).localReason == "ü" * 61


# What arrives while it closes.


def test_messages_arrive_until_the_peer_has_closed() -> None:
    """5.5.1 stops us from sending after our Close; the peer may go on until its own."""
    told = Told()
    told.connection.close(1000, "")

    assert told.receive(text("still"), close(1000), text("too late"))[2:] == ["still", "end TCP"]


def test_nothing_is_read_behind_a_close() -> None:
    told = Told(sends=False)

    assert told.receive(close(1000), text("x"), ping(b"y")) == ["closing", ("close", close_payload(1000))]
    assert told.receive(text("z")) == ["closing", ("close", close_payload(1000))]


def test_control_frames_are_told_on_arrival() -> None:
    told = Told()

    assert told.receive(text("a", fin=False), ping(b"1"), pong(b"2")) == [ping(b"1"), pong(b"2")]


def test_what_comes_behind_a_failure_is_not_read() -> None:
    """Also where it lies in the same piece as the message at which we failed."""

    class Failing(Told):
        def message(self, payload: bytes, is_binary: bool) -> object:
            self.connection.fail(1011, "", CloseCause.APPLICATION_ERROR)
            return super().message(payload, is_binary)

    told = Failing()
    told.receive(text("a"), text("b"), ping(b"c"))

    assert told.calls == ["closing", ("close", close_payload(1011)), "end TCP", "a"]


# Failing (7.1.7).


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (Frame(3), 1002),
        (Frame(1, b"", rsv=1), 1002),
        (Frame(0, b"x"), 1002),
        (Frame(8, b"\x03"), 1002),
        (Frame(8, b"\x03\xed"), 1002),
        (Frame(8, b"\x03\xe8\xff"), 1007),
        (text(b"\xff"), 1007),
        (binary(bytes(101)), 1009),
    ],
)
@pytest.mark.parametrize("is_client", [False, True])
def test_a_fault_of_the_peer_is_answered_with_its_code(frame: Frame, code: int, is_client: bool) -> None:
    """We wait for no answer, and end TCP ourselves whichever side we are."""
    told = Told(is_client, maxMessagePayloadSize=100)
    told.receive(text("before"), frame, text("behind"))
    said = told.calls[2]
    info = lose(told)

    assert isinstance(said, tuple)
    assert said[1][:2] == code.to_bytes(2, "big")
    assert [*told.calls[:2], *told.calls[3:]] == ["before", "closing", "end TCP"]
    assert (info.wasClean, info.code, info.localCode, info.remoteCode) == (False, 1006, code, None)
    assert (info.cause, info.begunBy) == (CloseCause.PROTOCOL_ERROR, "local")
    assert info.reason == info.localReason != ""


def test_a_failure_waits_for_what_was_said_before() -> None:
    told = Told(sends=False)
    told.connection.fail(1002, "why", CloseCause.PROTOCOL_ERROR)
    before = [*told.calls]
    told.sent()

    assert before == ["closing", ("close", close_payload(1002, "why"))]
    assert told.calls[2:] == ["end TCP"]


def test_a_failure_behind_our_close_ends_tcp() -> None:
    told = Told()
    told.connection.close(1000, "")
    told.receive(Frame(3))

    assert told.calls == ["closing", ("close", close_payload(1000)), "end TCP"]
    assert lose(told).localCode == 1000


def test_with_failByDrop_no_close_is_sent() -> None:
    told = Told(failByDrop=True)
    told.receive(Frame(3))
    info = lose(told)

    assert told.calls == ["closing", "drop"]
    assert (info.localCode, info.begunBy, info.cause) == (None, None, CloseCause.PROTOCOL_ERROR)


@pytest.mark.parametrize("state", [State.LAST_WORDS, State.ENDING, State.CLOSED])
def test_nothing_is_left_to_fail_once_the_last_word_is_said(state: State) -> None:
    told = Told(sends=False)
    WAYS[state](told)
    told.connection.fail(1011, "late", CloseCause.APPLICATION_ERROR)

    assert told.state is state
    assert told.info.cause is not CloseCause.APPLICATION_ERROR


# EOF: the peer shuts down its sending side.


@pytest.mark.parametrize("is_client", [False, True])
def test_eof_without_a_close_ends_tcp_behind_what_waits(is_client: bool) -> None:
    """No Close frame: it would answer nothing, and begin nothing."""
    told = Told(is_client, sends=False)
    told.connection.eof()
    before = [*told.calls]
    told.sent()

    assert before == ["closing", ("close", None)]
    assert told.calls[2:] == ["end TCP"]
    assert lose(told) == CloseInfo(False, 1006, NO_CLOSE, CloseCause.CONNECTION_LOST)


def test_our_close_still_leaves_after_eof() -> None:
    """The peer may hear us yet: data queued before sendClose, and the Close, go out."""
    told = Told(sends=False)
    told.connection.close(1000, "")
    told.connection.eof()
    before = told.state
    told.sent()

    assert before is State.LAST_WORDS
    assert told.calls[-1] == "end TCP"
    assert lose(told) == CloseInfo(False, 1006, NO_CLOSE, CloseCause.LOCAL_CLOSE, "local", 1000)


def test_eof_instead_of_an_answer_ends_tcp() -> None:
    told = Told(is_client=True)
    told.connection.close(1000, "")
    told.connection.eof()

    assert told.calls[-1] == "end TCP"
    assert lose(told).wasClean is False


def test_a_client_does_not_wait_for_the_eof_that_came() -> None:
    """A server may end TCP right behind its Close, while our answer waits."""
    told = Told(is_client=True, sends=False)
    told.receive(close(1000))
    told.connection.eof()
    told.sent()

    assert told.calls[2:] == ["end TCP"]
    assert lose(told).wasClean is True


def test_the_eof_that_a_client_waited_for_ends_tcp() -> None:
    told = Told(is_client=True)
    told.receive(close(1000))
    told.connection.eof()

    assert told.calls[2:] == ["await EOF", "end TCP"]


def test_eof_takes_effect_behind_what_the_decoder_has_kept() -> None:
    """A Close among it counts: the owner had stopped the decoder, and resumes it later."""
    told = Told()
    told.stop_at = b"stop"
    told.receive(text("stop"), text("kept"), close(4000, "bye"))
    told.connection.eof()
    before = [*told.calls]
    told.connection.resume()

    assert before == ["stop"]
    assert told.calls == ["stop", "kept", "closing", ("close", close_payload(4000)), "end TCP"]
    assert lose(told).wasClean is True


def test_eof_behind_kept_messages_ends_it_once_they_are_delivered() -> None:
    told = Told()
    told.stop_at = b"stop"
    told.receive(text("stop"), text("kept"))
    told.connection.eof()
    told.connection.resume()

    assert told.calls == ["stop", "kept", "closing", ("close", None), "end TCP"]


# The loss of TCP.


def test_a_loss_without_a_close_is_1006() -> None:
    assert lose(Told()) == CloseInfo(False, 1006, "gone", CloseCause.CONNECTION_LOST)


def test_a_loss_before_our_close_has_left_is_not_clean() -> None:
    """Neither side heard both Close frames."""
    told = Told(sends=False)
    told.receive(close(1000, "bye"))

    assert lose(told) == CloseInfo(False, 1000, "bye", CloseCause.REMOTE_CLOSE, "remote", None, "", 1000, "bye")


def test_a_loss_after_both_closes_is_clean() -> None:
    told = Told()
    told.receive(close(3000, "bye"))

    assert lose(told) == CloseInfo(True, 3000, "bye", CloseCause.REMOTE_CLOSE, "remote", 3000, "", 3000, "bye")


def test_a_loss_before_the_answer_is_not_clean() -> None:
    told = Told()
    told.connection.close(1000, "bye")

    assert lose(told) == CloseInfo(False, 1006, "gone", CloseCause.LOCAL_CLOSE, "local", 1000, "bye")


def test_what_had_arrived_is_read_after_the_loss() -> None:
    told = Told()
    told.stop_at = b"stop"
    told.receive(text("stop"), text("kept"), close(4000, "bye"))
    lose(told)
    told.connection.resume()

    assert told.calls == ["stop", "kept"]
    assert told.info == CloseInfo(False, 4000, "bye", CloseCause.REMOTE_CLOSE, "remote", None, "", 4000, "bye")


# Dropping it.


def test_dropping_ends_tcp_behind_what_waits_without_a_close() -> None:
    told = Told()
    told.connection.drop(CloseCause.DROPPED, "enough", abort=False)

    assert told.calls == ["closing", ("close", None), "end TCP"]
    assert lose(told) == CloseInfo(False, 1006, "enough", CloseCause.DROPPED)


@pytest.mark.parametrize("state", [State.OPEN, State.CLOSE_WAITING, State.CLOSE_SENT])
def test_aborting_drops_the_transport_at_once(state: State) -> None:
    told = Told(sends=False)
    WAYS[state](told)
    told.connection.drop(CloseCause.DROPPED, "enough", abort=True)

    assert told.calls[-1] == "drop"
    assert told.state is not State.OPEN
    assert (lose(told).cause, told.info.reason, told.info.wasClean) == (CloseCause.DROPPED, "enough", False)


def test_dropping_does_not_wait_for_the_answer_to_our_close() -> None:
    told = Told(is_client=True)
    told.connection.close(1000, "")
    told.connection.drop(CloseCause.DROPPED, "enough", abort=False)

    assert told.calls[-1] == "end TCP"
    assert lose(told).cause is CloseCause.DROPPED


def test_dropping_does_not_wait_for_eof() -> None:
    """Both have closed: it stays a clean end."""
    told = Told(is_client=True)
    told.receive(close(1000))
    told.connection.drop(CloseCause.DROPPED, "enough", abort=False)

    assert told.calls[-2:] == ["await EOF", "end TCP"]
    assert lose(told).wasClean is True


def test_nothing_is_read_once_it_is_dropped() -> None:
    told = Told(sends=False)
    told.connection.drop(CloseCause.DROPPED, "enough", abort=False)

    assert told.receive(text("x"), close(1000)) == ["closing", ("close", None)]


def test_dropping_a_lost_connection_does_nothing() -> None:
    told = Told()
    lose(told)
    told.connection.drop(CloseCause.DROPPED, "enough", abort=True)

    assert told.calls == []


# Giving up.


def test_no_answer_in_time_is_a_timeout() -> None:
    told = Told()
    told.connection.close(1000, "")
    told.connection.give_up(CloseCause.CLOSE_TIMEOUT, "too long")

    assert lose(told) == CloseInfo(False, 1006, "too long", CloseCause.CLOSE_TIMEOUT, "local", 1000)


def test_giving_up_on_the_end_of_tcp_leaves_a_clean_end_clean() -> None:
    told = Told()
    told.receive(close(1000))
    told.connection.give_up(CloseCause.CLOSE_TIMEOUT, "too long")

    assert (lose(told).wasClean, told.info.cause) == (True, CloseCause.REMOTE_CLOSE)


def test_giving_up_on_what_failed_keeps_the_reason_of_the_failure() -> None:
    told = Told(sends=False)
    told.receive(Frame(3))
    told.connection.give_up(CloseCause.CLOSE_TIMEOUT, "too long")

    assert lose(told).cause is CloseCause.PROTOCOL_ERROR
