"""The three ways to talk, with a server that the test plays; what they show, how they end."""

from __future__ import annotations

import io
import os
from typing import Any, cast

import pytest
from twisted.internet.defer import CancelledError, Deferred

from wsfactory import testing
from wsfactory.errors import ConnectError, HandshakeError, OptionError
from wsfactory.frames import Opcode
from wsfactory.testing import Alone, Frame, alone, binary, close, pong, text
from wsfactory.tls import TLS
from wsfactory.twisted.screen import Screen
from wsfactory.twisted.terminal import (
    PATIENCE_SECONDS,
    PING_EVERY_SECONDS,
    PONG_WITHIN_SECONDS,
    SILENCE_SECONDS,
    Asked,
    Call,
    refusal,
)

URL = "ws://localhost/"


class Typed:
    """Stands for what is typed."""

    wanted = 1

    def start(self) -> None:
        pass

    def more(self) -> None:
        self.wanted += 1


class Use:
    """One use of the program: its screen, its server, its status."""

    def __init__(self, asked: Asked, *, interactive: bool = False) -> None:
        self.out, self.err = io.StringIO(), io.StringIO()
        clock: Any = testing.Clock()
        self.call = Call(asked, Screen(self.out, self.err, interactive), clock)
        self.call.now = clock.seconds
        self.typed: Any = Typed()
        self.call.typed_lines = lambda typist: self.typed  # type: ignore[method-assign]
        self.statuses: list[int] = []
        self.call.over.addCallback(self.statuses.append)
        self.alone: Alone[Any] = alone(cast("Any", self.call.factory))
        self.session, self.exchange = self.alone.session, self.alone.exchange

    def ends(self, *answer: Frame | bytes) -> int:
        """Let the server answer and end TCP; returns the status."""
        self.exchange(*answer)
        self.alone.peer.wire.finish()
        self.alone.run()
        (status,) = self.statuses
        return status

    @property
    def shown(self) -> tuple[str, str]:
        """What is on stdout and on stderr."""
        return self.out.getvalue(), self.err.getvalue()


def payloads(frames: list[Frame]) -> list[bytes]:
    return [frame.payload for frame in frames]


# Lines.


def test_lines_typed_go_out_as_text_and_messages_are_shown() -> None:
    use = Use(Asked(URL))
    use.session.typed([b"hello", b"", "grün".encode()])

    assert use.exchange(text("hi\x1b"), binary(b"\x00")) == [text("hello"), text(""), text("grün")]
    assert use.shown == ("hi\\x1b\n[binary, 1 bytes] 00\n", "")


def test_the_end_of_what_is_typed_closes_behind_it() -> None:
    use = Use(Asked(URL))
    use.session.typed([b"last"])
    use.session.typed_all()

    assert use.exchange() == [text("last"), close(1000)]
    assert use.ends(text("an answer"), close(1000)) == 0
    assert use.shown == ("an answer\n", "")


def test_more_is_read_only_while_the_server_takes_it() -> None:
    use = Use(Asked(URL))
    use.session.typed([b"a"])

    assert use.typed.wanted == 2

    use.alone.wire.room = 0
    use.session.typed([bytes(200_000)])
    use.alone.run()

    assert use.typed.wanted == 2

    use.alone.wire.room = None
    use.alone.run()

    assert use.typed.wanted == 3


def test_a_line_that_is_not_utf8_is_not_sent_and_makes_the_status_1() -> None:
    use = Use(Asked(URL))
    use.session.typed([b"a", b"\xff", b"b"])
    use.session.typed_all()

    assert payloads(use.exchange())[:2] == [b"a", b"b"]
    assert use.ends(close(1000)) == 1
    assert use.shown == ("", "wsfactory: a line that is not UTF-8 was not sent\n")


def test_lines_typed_once_it_closes_are_dropped() -> None:
    use = Use(Asked(URL))
    use.exchange(close(1000))
    use.session.typed([b"late"])
    use.session.typed_all()

    assert use.ends() == 0


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (close(1000, "bye"), 0, ""),
        (close(None), 0, ""),
        (close(1001), 1, "the server closed the connection with 1001 (going away)"),
        (close(4000, "re\x1bason"), 1, "the server closed the connection with 4000: re\\x1bason"),
        (b"\xff\xff", 1, "the peer broke the protocol"),
        (b"", 1, "the TCP connection ended without a Close frame"),
    ],
)
def test_a_server_that_ends_it_with_an_error_makes_the_status_1(answer: Frame | bytes, status: int, said: str) -> None:
    use = Use(Asked(URL))

    assert use.ends(answer) == status
    assert use.shown[1].startswith(f"wsfactory: {said}" if said else "")
    assert bool(use.shown[1]) == bool(status)


def test_an_error_of_the_servers_counts_even_when_both_close_at_once() -> None:
    use = Use(Asked(URL))
    use.session.typed([b"too much"])
    use.session.typed_all()

    assert use.ends(close(1009)) == 1
    assert use.shown[1] == "wsfactory: the server closed the connection with 1009 (message too big)\n"


def test_somebody_who_types_is_told_how_and_when() -> None:
    use = Use(Asked(URL), interactive=True)
    use.exchange(text("hello"))
    use.session.typed_all()

    assert use.ends(close(1000)) == 0
    assert use.shown == ("< hello\n", f"Connected to {URL}. Lines you type are sent; Ctrl-D closes.\nClosed.\n")


def test_what_was_piped_is_answered_before_it_closes() -> None:
    """The server may take its time: it closes once there has been silence."""
    use = Use(Asked(URL, piped=True))
    use.session.typed([b"question"])
    use.session.typed_all()
    use.exchange()
    for _ in range(3):
        use.alone.advance(SILENCE_SECONDS * 0.9)
        assert use.exchange(text("answer")) == []
    use.alone.advance(SILENCE_SECONDS)

    assert use.exchange() == [close(1000)]
    assert use.ends(close(1000)) == 0
    assert use.out.getvalue() == "answer\n" * 3


def test_a_server_that_never_stops_talking_is_closed_at_last() -> None:
    use = Use(Asked(URL, piped=True))
    use.session.typed([b"subscribe"])
    use.session.typed_all()
    use.exchange()
    seconds = 0.0
    while not (frames := use.exchange(text("tick"))):
        use.alone.advance(SILENCE_SECONDS / 2)
        seconds += SILENCE_SECONDS / 2

    assert frames == [close(1000)]
    assert seconds == PATIENCE_SECONDS


def test_where_nothing_was_piped_nothing_is_awaited() -> None:
    use = Use(Asked(URL, piped=True))
    use.session.typed_all()

    assert use.exchange() == [close(1000)]


def test_silence_after_the_end_is_no_longer_awaited() -> None:
    """Be it the server's, or Ctrl-C."""
    use = Use(Asked(URL, piped=True))
    use.session.typed([b"question"])
    use.session.typed_all()
    use.call.interrupt()

    assert use.exchange() == [text("question"), close(1000)]
    assert use.ends(close(1000)) == 0

    use.alone.advance(60)

    assert use.err.getvalue() == ""


# One message.


def test_a_message_is_sent_and_its_answer_shown() -> None:
    use = Use(Asked(URL, message="grün"))

    assert use.exchange() == [text("grün")]
    assert use.exchange(text("yes"), text("and more")) == [close(1000)]
    assert use.ends(close(1000)) == 0
    assert use.shown == ("yes\n", "")


def test_the_empty_message_is_one_too() -> None:
    assert Use(Asked(URL, message="")).exchange() == [text("")]


def test_no_answer_makes_the_status_1() -> None:
    use = Use(Asked(URL, message="hello"))

    assert use.ends(close(1000, "bye")) == 1
    assert use.shown == ("", "wsfactory: no answer: the server closed the connection with 1000 (normal): bye\n")


def test_an_answer_counts_even_if_the_server_leaves_without_a_word() -> None:
    use = Use(Asked(URL, message="hello"))
    use.exchange(text("yes"))

    assert use.ends() == 0


# Pings.


def the_ping(use: Use) -> bytes:
    """Return the payload of the one Ping that has come."""
    (frame,) = use.exchange()
    assert frame.opcode == Opcode.PING
    return frame.payload


def test_pings_are_timed_and_summed_up() -> None:
    use = Use(Asked(URL, pings=3))
    for seconds in (0.001, 0.003, 0.002):
        payload = the_ping(use)
        use.alone.advance(seconds)
        frames = use.exchange(pong(payload))
        use.alone.advance(PING_EVERY_SECONDS if not frames else 0)

    assert frames == [close(1000)]
    assert use.ends(close(1000)) == 0
    assert use.shown == (
        "pong 1: 1.000 ms\npong 2: 3.000 ms\npong 3: 2.000 ms\n3 pings, 3 pongs, min/avg/max 1.000/2.000/3.000 ms\n",
        "",
    )


def test_only_the_pong_of_the_ping_counts() -> None:
    use = Use(Asked(URL, pings=2))
    payload = the_ping(use)
    use.exchange(pong(b""), pong(bytes(8)), text("never mind"))

    assert use.out.getvalue() == ""

    use.exchange(pong(payload), pong(payload))

    assert use.out.getvalue().count("pong") == 1


def test_a_pong_that_does_not_come_makes_the_status_1() -> None:
    use = Use(Asked(URL, pings=2))
    the_ping(use)
    use.alone.advance(PONG_WITHIN_SECONDS)

    assert use.statuses == [1]
    assert use.shown == ("", f"wsfactory: no Pong within {PONG_WITHIN_SECONDS:g} s\n")


@pytest.mark.parametrize("pongs", [0, 1])
def test_a_server_that_leaves_between_pings_makes_the_status_1(pongs: int) -> None:
    """And nothing goes on afterwards."""
    use = Use(Asked(URL, pings=2))
    payload = the_ping(use)
    use.exchange(*[pong(payload)] * pongs)

    assert use.ends(close(1001)) == 1

    use.alone.advance(60)

    assert use.err.getvalue() == "wsfactory: the server closed the connection with 1001 (going away)\n"


# Ctrl-C, and nobody there.


def test_ctrl_c_closes() -> None:
    use = Use(Asked(URL))
    use.call.interrupt()

    assert use.exchange() == [close(1000)]
    assert use.ends(close(1000)) == 0
    assert use.shown == ("", "")


def test_ctrl_c_while_the_answer_is_awaited_makes_the_status_1() -> None:
    use = Use(Asked(URL, message="hello"))
    use.call.interrupt()

    assert use.ends(close(1000)) == 1
    assert use.shown == ("", "wsfactory: no answer: closed\n")


def test_ctrl_c_sums_up_the_pings_there_were() -> None:
    use = Use(Asked(URL, pings=100))
    use.exchange(pong(the_ping(use)))
    use.call.interrupt()

    assert use.ends(close(1000)) == 0
    assert use.shown == ("pong 1: 0.000 ms\n1 pings, 1 pongs, min/avg/max 0.000/0.000/0.000 ms\n", "")


def test_a_second_ctrl_c_aborts() -> None:
    use = Use(Asked(URL))
    use.call.interrupt()
    use.alone.run()
    use.call.interrupt()
    use.alone.run()

    assert use.alone.wire.aborted
    assert use.statuses == [1]


def test_ctrl_c_while_connecting_gives_up() -> None:
    err = io.StringIO()
    call = Call(Asked(URL), Screen(io.StringIO(), err, False), cast("Any", testing.Clock()))
    call._attempt = Deferred()
    call._attempt.addErrback(call._refused)
    statuses: list[int] = []
    call.over.addCallback(statuses.append)
    call.interrupt()

    assert statuses == [1]
    assert err.getvalue() == "wsfactory: interrupted\n"


def test_whatever_dialling_raises_ends_it() -> None:
    """A reactor logs what is raised, and runs on."""
    err = io.StringIO()
    call = Call(Asked(URL), Screen(io.StringIO(), err, False), cast("Any", testing.Clock()))
    call.factory.protocol = None
    statuses: list[int] = []
    call.over.addCallback(statuses.append)
    call.dial()

    assert statuses == [1]
    assert err.getvalue().startswith("wsfactory: the factory has no protocol")


def test_what_cannot_all_be_sent_is_refused_before_anything_runs() -> None:
    for asked in (
        Asked(URL, subprotocols=("a", "a")),
        Asked(URL, headers=(("Host", "a"), ("host", "b"))),
        Asked(URL, headers=(("Authorization", "a"), ("authorization", "b"))),
    ):
        with pytest.raises(OptionError):
            Call(asked, Screen(io.StringIO(), io.StringIO(), False), cast("Any", testing.Clock()))


def test_nobody_reading_stdout_ends_it() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    use = Use(Asked(URL))
    with open(write_end, "w") as broken:
        use.call.screen._out = broken
        use.exchange(text("hello"))

        assert use.statuses == [1]
        assert use.shown[1] == "wsfactory: cannot write to stdout: Broken pipe\n"


# Why no connection came about.


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            HandshakeError("the server answered 403 Forbidden", 403, "Forbidden"),
            "refused: the server answered 403 Forbidden",
        ),
        (HandshakeError("no", 403, "Forbidden", body=b"too \xff late\n"), "refused: no: too \ufffd late"),
        (HandshakeError("no", 500, "Oh", body=b"Oh\n"), "refused: no"),
        (HandshakeError("no", 404, "", [("Content-Type", "text/html")], b"<html>"), "refused: no"),
        (HandshakeError("no", 404, "", body=b"x" * 501), "refused: no: " + "x" * 500 + "..."),
        (HandshakeError("not open within 10 s"), "not open within 10 s"),
        (ConnectError("cannot connect"), "cannot connect"),
        (CancelledError(), "interrupted"),
        (ValueError(), "ValueError"),
    ],
)
def test_a_refusal_says_why(error: BaseException, said: str) -> None:
    assert refusal(error) == said


def test_the_factory_carries_what_was_asked_for() -> None:
    asked = Asked(URL, headers=(("X-One", "1"),), subprotocols=("chat.v1",), insecure=True)
    factory = Call(asked, Screen(io.StringIO(), io.StringIO(), False), cast("Any", testing.Clock())).factory

    assert (factory.subprotocols, list(factory.headers)) == (("chat.v1",), [("X-One", "1")])
    assert factory.tls == TLS(verify=False)
