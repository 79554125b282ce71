"""The opening handshake of a server's session: who is asked when, and how it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed

from wsfactory.errors import ConnectionDeny
from wsfactory.events import CloseCause
from wsfactory.http11 import Headers, Request, Response
from wsfactory.testing import (
    Alone,
    Cancelled,
    Future,
    RecordingServer,
    ServerFactory,
    alone,
    close,
    text,
    upgrade_request,
)

ASKED = upgrade_request(subprotocols=["a", "b"])
SECRET = "s3cret"


def asking(onConnect: Callable[..., object], **options: Any) -> Alone[RecordingServer]:
    """Return a server whose onConnect this is, and a client that has not said anything yet."""

    def noted(self: RecordingServer, request: Request) -> object:
        self.calls.append(("onConnect", request))
        return onConnect()

    return alone(ServerFactory(type("Asking", (RecordingServer,), {"onConnect": noted}), **options), opened=False)


def answer(one: Alone[RecordingServer], *said: bytes) -> Response:
    """Return the head that the server answers to *said*."""
    one.peer.send(*said or (ASKED,))
    one.run()
    head = one.peer.head()
    assert isinstance(head, Response)
    return head


def log_of(one: Alone[RecordingServer]) -> list[tuple[str, str]]:
    return one.session.factory.flavour.log.lines  # type: ignore[attr-defined]


def failures_of(one: Alone[RecordingServer]) -> list[str]:
    return [str(error) for error in one.session.factory.flavour.log.failures]  # type: ignore[attr-defined]


def end(one: Alone[RecordingServer]) -> tuple[object, ...]:
    """Let the client go; return the last call."""
    one.peer.wire.finish()
    one.run()
    return one.session.calls[-1]


async def later(value: object) -> object:
    return value


async def raising(error: Exception) -> None:
    raise error


# What onConnect may answer, and how.

HOW: dict[str, Callable[[object], object]] = {
    "plain": lambda value: value,
    "async def": later,
    "Deferred": succeed,
}


@pytest.mark.parametrize("how", HOW.values(), ids=HOW)
@pytest.mark.parametrize(
    ("value", "subprotocol", "header"),
    [
        (None, "b", None),
        ("a", "a", None),
        ((None, {"X-Here": "yes"}), "b", "yes"),
        (("a", [("X-Here", "yes")]), "a", "yes"),
        (("a", None), "a", None),
    ],
)
def test_onconnect_chooses(
    how: Callable[[object], object], value: object, subprotocol: str, header: str | None
) -> None:
    """Without its word the server's order of preference counts, not the client's."""
    one = asking(lambda: how(value), subprotocols=["b", "a"], headers={"Server": "x"})
    head = answer(one)

    assert head.status == 101
    assert head.headers.get("Sec-WebSocket-Protocol") == one.session.subprotocol == subprotocol
    assert (head.headers.get("X-Here"), head.headers.get("Server")) == (header, "x")
    assert one.session.names == ["onConnect", "onOpen"]


def test_onconnect_sees_the_request() -> None:
    one = alone(RecordingServer, opened=False)
    answer(one, upgrade_request("ws://localhost/path?x=1", headers={"Cookie": "a=b"}))
    request = one.session.calls[0][1]

    assert (request.path, request.query, request.peer) == ("/path", {"x": ["1"]}, "memory")
    assert request.headers["cookie"] == "a=b"


def test_a_request_may_come_in_any_pieces() -> None:
    one = alone(RecordingServer, opened=False)
    one.peer.wire.read_size = 1

    assert answer(one).status == 101


def test_no_subprotocol_in_common_is_none() -> None:
    one = asking(lambda: None, subprotocols=["c"])
    head = answer(one)

    assert head.status == 101
    assert "Sec-WebSocket-Protocol" not in head.headers
    assert one.session.subprotocol is None


@pytest.mark.parametrize(
    "value",
    [
        "c",
        "",
        42,
        ("a",),
        ("a", {}, "more"),
        (1, {}),
        ("a", 5),
        ("a", [(SECRET,)]),
        ("a", [(1, SECRET)]),
        ("a", {"Set-Cookie": SECRET + "\r\nX: y"}),
        ("a", {"Set-Cookie": 5}),
        ("a", {"Sec-WebSocket-Accept": SECRET}),
        (SECRET, [("Set-Cookie", SECRET)], None),
    ],
)
@pytest.mark.parametrize("how", HOW.values(), ids=HOW)
def test_an_answer_that_cannot_be_is_an_immediate_logged_500(how: Callable[[object], object], value: object) -> None:
    """A subprotocol that was not offered, too; what is in the answer stays out of the log."""
    one = asking(lambda: how(value))
    head = answer(one)

    assert head.status == 500
    assert [level for level, _ in log_of(one)] == ["error"]
    assert SECRET not in repr(log_of(one)) + repr(head)
    assert end(one)[:3] == ("onClose", False, 1006)


@pytest.mark.parametrize("raises", [None, raising], ids=["plain", "async def"])
def test_onconnect_can_refuse(raises: Callable[[Exception], object] | None) -> None:
    deny = ConnectionDeny(403, "Not You", {"X-Why": "because"}, "go away")

    def onConnect() -> object:
        if raises is None:
            raise deny
        return raises(deny)

    one = asking(onConnect)
    head = answer(one)

    assert (head.status, head.reason, head.headers["X-Why"]) == (403, "Not You", "because")
    assert one.peer.received == b"go away"
    assert log_of(one) == [("info", "refused memory with 403: 403 Not You")]
    assert end(one) == ("onClose", False, 1006, "403 Not You")
    assert one.session.names == ["onConnect", "onClose"]


@pytest.mark.parametrize(
    "deny",
    [
        ConnectionDeny(403, "Not\r\nX: y"),
        ConnectionDeny(403, "No", {"Set-Cookie": SECRET + "\n"}),
        ConnectionDeny(99, "No"),
        ConnectionDeny(101, "No"),
    ],
)
def test_a_refusal_that_cannot_be_sent_is_a_logged_500(deny: ConnectionDeny) -> None:
    one = asking(lambda: raising(deny))
    head = answer(one)

    assert head.status == 500
    assert [level for level, _ in log_of(one)] == ["error"]
    assert "with 500" in log_of(one)[0][1]
    assert SECRET not in repr(log_of(one))


@pytest.mark.parametrize("how", [lambda error: raising(error), lambda error: (_ for _ in ()).throw(error)])
def test_an_exception_is_a_500_without_its_text(how: Callable[[Exception], object]) -> None:
    one = asking(lambda: how(RuntimeError(SECRET)))
    head = answer(one)

    assert head.status == 500
    assert SECRET.encode() not in one.peer.received
    assert SECRET not in repr(head)
    assert failures_of(one) == [SECRET]
    assert end(one)[:3] == ("onClose", False, 1006)
    assert one.session.names == ["onConnect", "onClose"]


# Refused before the application is asked.


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"GET / HTTP/1.1\nHost: localhost\r\n\r\n", 400),
        (b"GET /" + b"x" * 9000, 414),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000, 431),
        (b"GET / HTTP/1.1\r\n" + b"X: x\r\n" * 129, 431),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 426),
        (ASKED.replace(b": 13", b": 12"), 426),
        (ASKED.replace(b"GET", b"POST"), 405),
        (upgrade_request(headers={"Origin": "https://elsewhere.example"}), 403),
    ],
)
def test_who_is_refused_before_onconnect_makes_no_call_at_all(said: bytes, status: int) -> None:
    one = alone(RecordingServer, opened=False)
    head = answer(one, said)
    one.peer.wire.finish()
    one.advance(100)

    assert head.status == status
    assert one.session.calls == []
    assert len(log_of(one)) == 1
    assert one.session.closeInfo is not None
    assert one.session.closeInfo.cause is CloseCause.HANDSHAKE_REFUSED


def test_a_refused_origin_is_told_with_the_option_that_refuses_it() -> None:
    one = alone(RecordingServer, opened=False)
    answer(one, upgrade_request(headers={"Origin": "https://elsewhere.example"}))

    for told in (one.peer.received.decode(), log_of(one)[0][1]):
        assert "https://elsewhere.example" in told
        assert "localhost" in told
        assert "allowedOrigins" in told


def test_cookies_and_credentials_are_never_in_the_log() -> None:
    """Whatever becomes of the request that carries them."""
    headers = [("Cookie", SECRET), ("Authorization", SECRET)]
    asked = upgrade_request(headers=headers)
    lines: list[str] = []
    for said in (
        asked,
        asked.replace(b": 13", b": 12"),
        asked.replace(b"Cookie: ", b"Cookie : "),
        asked.replace(b"Cookie: ", b"Cookie: \x00"),
        asked.replace(b"Upgrade", b"Downgrade"),
    ):
        for answers in (lambda: None, lambda: "c", lambda: raising(ConnectionDeny(403)), lambda: 5):
            one = asking(answers)
            one.exchange(said)
            one.lose()
            lines += [line for _, line in log_of(one)]

    assert len(lines) >= 16
    assert SECRET not in repr(lines)


# While onConnect takes its time.


class Waiting:
    """A server whose onConnect waits for ``future``, asked already; ``cancelled`` tells how that ended."""

    def __init__(self, **options: Any) -> None:
        self.future = Future()
        self.cancelled = False
        self.one = asking(self.wait, **options)
        self.one.peer.send(ASKED)
        self.one.run()

    async def wait(self) -> object:
        try:
            return await self.future
        except Cancelled:
            self.cancelled = True
            raise

    def go_on(self, value: object = None) -> None:
        self.future.resolve(value)
        self.one.run()


def test_the_answer_waits_for_onconnect() -> None:
    waiting = Waiting()
    before = waiting.one.peer.received
    waiting.go_on()
    head = waiting.one.peer.head()

    assert before == b""
    assert isinstance(head, Response)
    assert head.status == 101


def test_a_second_request_does_not_ask_again() -> None:
    """It is no frame: once the connection is open it breaks the protocol."""
    waiting = Waiting()
    waiting.one.peer.send(ASKED)
    waiting.one.run()
    before = waiting.one.session.names
    waiting.go_on()
    waiting.one.peer.head()

    assert before == ["onConnect"]
    assert waiting.one.session.names == ["onConnect", "onOpen"]
    assert waiting.one.peer.frames()[0].payload[:2] == (1002).to_bytes(2, "big")


def test_frames_that_arrive_meanwhile_are_delivered_after_onopen() -> None:
    waiting = Waiting()
    waiting.one.peer.send(text("early"))
    waiting.one.run()
    waiting.go_on()

    assert waiting.one.session.names == ["onConnect", "onOpen", "onMessage"]


def test_a_close_that_arrives_meanwhile_is_answered() -> None:
    waiting = Waiting()
    waiting.one.peer.send(text("early"), close(1000))
    waiting.one.run()
    waiting.go_on()
    waiting.one.peer.head()

    assert waiting.one.peer.frames() == [close(1000)]
    assert end(waiting.one) == ("onClose", True, 1000, "")


def test_what_arrives_meanwhile_is_bounded() -> None:
    """readLimit bytes are kept, and what one read brings; then reading pauses until the answer is known."""
    waiting = Waiting(readLimit=1024)
    waiting.one.peer.wire.read_size = 1000
    waiting.one.peer.send(*[text("x" * 100)] * 100)
    waiting.one.run()
    left = waiting.one.peer.wire.unsent()
    waiting.go_on()

    assert left == 106 * 100 - 2000
    assert waiting.one.session.messages == ["x" * 100] * 100
    assert not waiting.one.wire.paused


@pytest.mark.parametrize("leave", [lambda one: one.peer.wire.finish(), lambda one: one.peer.wire.abort()])
def test_it_is_cancelled_when_the_peer_leaves(leave: Callable[[Alone[RecordingServer]], object]) -> None:
    waiting = Waiting()
    leave(waiting.one)
    waiting.one.run()

    assert waiting.cancelled
    assert waiting.one.session.names == ["onConnect", "onClose"]
    assert waiting.one.session.closeInfo is not None
    assert waiting.one.session.closeInfo.cause is CloseCause.CONNECTION_LOST
    assert failures_of(waiting.one) == []


def test_an_answer_after_the_peer_left_opens_nothing() -> None:
    """Also where the callback does not let itself be cancelled."""
    ignoring: Deferred[None] = Deferred(lambda _: ignoring.callback(None))
    one = asking(lambda: ignoring)
    one.peer.send(ASKED)
    one.run()
    one.peer.wire.finish()
    one.run()

    assert ignoring.called
    assert one.session.names == ["onConnect", "onClose"]
    assert one.peer.received == b""


def test_it_is_cancelled_when_the_open_timer_fires() -> None:
    waiting = Waiting(openHandshakeTimeout=3)
    waiting.one.advance(2.99)
    before = waiting.cancelled
    waiting.one.advance(0.02)
    head = waiting.one.peer.head()

    assert not before
    assert waiting.cancelled
    assert isinstance(head, Response)
    assert head.status == 503
    assert failures_of(waiting.one) == []
    assert [level for level, _ in log_of(waiting.one)] == ["info"]
    assert end(waiting.one)[:3] == ("onClose", False, 1006)
    assert waiting.one.session.closeInfo is not None
    assert waiting.one.session.closeInfo.cause is CloseCause.OPEN_TIMEOUT


def test_it_is_cancelled_when_the_application_drops_the_connection() -> None:
    waiting = Waiting()
    waiting.one.session.dropConnection()
    inside = waiting.cancelled
    waiting.one.run()

    assert not inside
    assert waiting.cancelled
    assert waiting.one.session.calls[-1] == ("onClose", False, 1006, "dropped by the application")
    assert waiting.one.session.closeInfo is not None
    assert waiting.one.session.closeInfo.cause is CloseCause.DROPPED


def test_dropping_inside_onconnect_opens_nothing() -> None:
    class Dropping(RecordingServer):
        def onConnect(self, request: Request) -> None:
            super().onConnect(request)
            self.dropConnection()

    one = alone(Dropping, opened=False)
    one.peer.send(ASKED)
    one.run()

    assert one.session.names == ["onConnect", "onClose"]
    assert one.peer.received == b""


# Time.


def test_a_slow_request_is_408_at_the_deadline() -> None:
    """A byte a second does not help: the time runs from connected to open."""
    one = alone(ServerFactory(RecordingServer, openHandshakeTimeout=10), opened=False)
    for number in range(9):
        one.peer.send(ASKED[number : number + 1])
        one.advance(1)
    one.advance(0.99)
    before = one.peer.received
    one.advance(0.02)
    head = one.peer.head()

    assert before == b""
    assert isinstance(head, Response)
    assert head.status == 408
    assert one.session.calls == []


def test_a_timeout_of_less_than_a_second_is_kept() -> None:
    one = alone(ServerFactory(RecordingServer, openHandshakeTimeout=0.3), opened=False)
    one.advance(0.29)
    before = one.peer.received
    one.advance(0.02)

    assert before == b""
    assert one.peer.received.startswith(b"HTTP/1.1 408")


def test_without_a_timeout_there_is_none() -> None:
    one = alone(ServerFactory(RecordingServer, openHandshakeTimeout=None), opened=False)
    one.advance(1_000_000)

    assert answer(one).status == 101


def test_the_timer_is_off_once_it_is_open() -> None:
    one = alone(ServerFactory(RecordingServer, openHandshakeTimeout=1))
    one.advance(100)

    assert one.session.isOpen


def test_a_refused_client_may_read_the_answer_before_the_connection_ends() -> None:
    """What it sends meanwhile is discarded, not reset."""
    one = alone(ServerFactory(RecordingServer, closeHandshakeTimeout=5), opened=False)
    one.wire.room = 0
    one.peer.send(b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    for _ in range(10):
        one.peer.send(bytes(1_000_000))
        one.advance(0.4)
    one.wire.room = None
    one.run()

    assert one.peer.received.startswith(b"HTTP/1.1 426")
    assert one.peer.wire.unsent() == 0
    assert (one.peer.eof, one.peer.lost) == (True, None)


def test_a_refused_client_that_never_leaves_is_left() -> None:
    one = alone(ServerFactory(RecordingServer, closeHandshakeTimeout=5), opened=False)
    answer(one, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    one.advance(4.99)
    before = one.peer.lost
    one.advance(0.3)

    assert before is None
    assert one.wire.aborted


# Shutting down.


def test_new_handshakes_are_refused_while_the_factory_shuts_down() -> None:
    one = alone(RecordingServer, opened=False)
    one.session.factory.shuttingDown = True
    head = answer(one)

    assert (head.status, head.headers["Retry-After"]) == (503, "5")
    assert one.session.calls == []


def test_one_that_is_under_way_is_refused_as_soon_as_it_can_be() -> None:
    waiting = Waiting()
    waiting.one.session.factory.shutdown()
    waiting.go_on()
    head = waiting.one.peer.head()

    assert isinstance(head, Response)
    assert head.status == 503
    assert end(waiting.one)[:3] == ("onClose", False, 1006)


def test_one_that_has_not_said_anything_yet_is_aborted() -> None:
    """A browser may hold such a connection ready, and not look at it: a shutdown does not wait for that."""
    one = alone(RecordingServer, opened=False)
    one.session.factory.shutdown()
    one.run()

    assert one.wire.aborted
    assert one.peer.received == b""
    assert one.session.factory.counters.failed == {CloseCause.SHUTDOWN: 1}


def test_one_that_has_not_asked_all_yet_is_told_at_once() -> None:
    one = alone(RecordingServer, opened=False)
    one.peer.send(b"GET / HT")
    one.run()
    one.session.factory.shutdown()
    one.run()
    head = one.peer.head()

    assert isinstance(head, Response)
    assert head.status == 503


# Requests that are no upgrade.


def plainly(processRequest: Callable[..., object]) -> Alone[RecordingServer]:
    one_type: type[RecordingServer] = type(
        "Plain", (RecordingServer,), {"processRequest": lambda self, request: processRequest(request)}
    )
    one = alone(ServerFactory(one_type), opened=False)
    one.peer.send(b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n")
    one.run()
    return one


@pytest.mark.parametrize("how", HOW.values(), ids=HOW)
def test_a_plain_request_can_be_answered(how: Callable[[object], object]) -> None:
    one = plainly(
        lambda request: how(Response(200, "OK", Headers({"Content-Type": "text/html"}), request.path.encode()))
    )
    head = one.peer.head()

    assert isinstance(head, Response)
    assert (head.status, head.headers["Content-Type"], head.headers["Content-Length"]) == (200, "text/html", "5")
    assert head.headers["Connection"] == "close"
    assert one.peer.received == b"/page"
    assert one.peer.eof
    one.lose()
    assert one.session.calls == []


@pytest.mark.parametrize("upgrade", [b"", b"Upgrade: websocket\r\n"])
def test_the_answer_to_head_has_no_body(upgrade: bytes) -> None:
    """RFC 9110 9.3.2: with a body, what follows would be taken for the next answer."""
    one = alone(RecordingServer, opened=False)
    response = answer(one, b"HEAD / HTTP/1.1\r\nHost: a\r\n" + upgrade + b"\r\n")

    assert response.status in (405, 426)
    assert int(response.headers["Content-Length"]) > 0
    assert one.peer.received == b""


@pytest.mark.parametrize("how", HOW.values(), ids=HOW)
def test_a_plain_request_gets_a_426_that_says_why(how: Callable[[object], object]) -> None:
    one = plainly(lambda _: how(None))
    head = one.peer.head()

    assert isinstance(head, Response)
    assert (head.status, head.headers["Upgrade"]) == (426, "websocket")
    assert b"WebSocket" in one.peer.received


@pytest.mark.parametrize(
    "value", ["text", Response(200, "OK", Headers({"Set-Cookie": SECRET + "\r\n"})), Response(101, "No")]
)
def test_a_plain_answer_that_cannot_be_sent_is_a_logged_500(value: object) -> None:
    one = plainly(lambda _: value)
    head = one.peer.head()

    assert isinstance(head, Response)
    assert head.status == 500
    assert [level for level, _ in log_of(one)] == ["error"]
    assert SECRET not in repr(log_of(one))


def test_an_exception_in_processrequest_is_a_500() -> None:
    one = plainly(lambda _: raising(RuntimeError("broken")))
    head = one.peer.head()

    assert isinstance(head, Response)
    assert head.status == 500
    assert failures_of(one) == ["broken"]
    assert "processRequest" in log_of(one)[0][1]


def test_a_request_that_another_server_parsed_can_be_taken() -> None:
    """With the bytes that came behind it."""
    one = alone(RecordingServer, opened=False)
    request = Request("GET", "/", Headers(line.split(": ") for line in ASKED.decode().split("\r\n")[1:-2]))  # type: ignore[misc]
    one.session._ws_opening.take(request, text("hello").encode(b"abcd"))  # type: ignore[union-attr]
    one.run()
    head = one.peer.head()

    assert isinstance(head, Response)
    assert head.status == 101
    assert one.session.messages == ["hello"]
