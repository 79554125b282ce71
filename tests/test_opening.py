"""The opening handshake of a client's session: what is asked, what an answer means, and how it fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest
from twisted.internet.defer import succeed

from wsfactory.errors import HandshakeError, HandshakeTimeout, WebSocketError
from wsfactory.events import CloseCause
from wsfactory.http11 import Headers, Request
from wsfactory.opening import Connecting, Redirected
from wsfactory.testing import (
    Alone,
    Cancelled,
    ClientFactory,
    Future,
    RecordingClient,
    alone,
    close,
    text,
    upgrade_response,
)
from wsfactory.urls import parse_url

SECRET = "s3cret"
WORLD = "ws://localhost/"


def client(
    callbacks: dict[str, Callable[..., object]] | None = None, url: str = WORLD, **options: Any
) -> Alone[RecordingClient]:
    """Return a client with these *callbacks*, which are noted as well, connected to a server that says nothing yet."""

    def noted(name: str, callback: Callable[..., object]) -> Callable[..., object]:
        def call(self: RecordingClient, *args: object) -> object:
            self.calls.append((name, *args))
            return callback(*args)

        return call

    members = {name: noted(name, callback) for name, callback in (callbacks or {}).items()}
    protocol: type[RecordingClient] = type("Client", (RecordingClient,), members)
    one = alone(ClientFactory(url, protocol, **options), opened=False)
    one.run()
    return one


def asked(one: Alone[RecordingClient]) -> Request:
    request = one.peer.head()
    assert isinstance(request, Request)
    return request


def answered(one: Alone[RecordingClient], *said: bytes) -> Alone[RecordingClient]:
    """Let the server answer."""
    one.peer.send(*said)
    one.run()
    return one


def error_of(one: Alone[RecordingClient]) -> WebSocketError:
    """Return what onHandshakeFailed was told; it was called once, and nothing but onClose follows."""
    failed, closed = one.session.calls[-2:]
    assert one.session.names.count("onHandshakeFailed") == one.session.names.count("onClose") == 1
    assert closed == ("onClose", False, 1006, str(failed[1]))
    assert "onOpen" not in one.session.names
    error = failed[1]
    assert isinstance(error, WebSocketError)
    return error


def cause_of(one: Alone[RecordingClient]) -> CloseCause:
    assert one.session.closeInfo is not None
    return one.session.closeInfo.cause


def log_of(one: Alone[RecordingClient]) -> Any:
    return one.session.factory.flavour.log


async def later(value: object) -> object:
    return value


async def raising(error: Exception) -> None:
    raise error


HOW: dict[str, Callable[[object], object]] = {"plain": lambda value: value, "async def": later, "Deferred": succeed}
every_way = pytest.mark.parametrize("how", HOW.values(), ids=HOW)


# onConnecting.


def test_onconnecting_sees_what_is_about_to_be_asked() -> None:
    one = client(url="ws://localhost/x?y", subprotocols=["a"], headers={"X-Here": "yes"})
    details = one.session.calls[0][1]

    assert details == Connecting(parse_url("ws://localhost/x?y"), Headers({"X-Here": "yes"}), ("a",))
    assert (asked(one).target, one.session.names) == ("/x?y", ["onConnecting"])


@every_way
@pytest.mark.parametrize("url", ["ws://other/place", parse_url("ws://other/place")], ids=["text", "URL"])
def test_onconnecting_may_change_everything(how: Callable[[object], object], url: Any) -> None:
    def onConnecting(details: Connecting) -> object:
        return how(replace(details, url=url, headers=Headers({"Authorization": "fresh"}), subprotocols=("b",)))

    one = client({"onConnecting": onConnecting}, subprotocols=["a"], headers={"X-Here": "yes"})
    request = asked(one)

    assert (request.target, request.headers["Host"]) == ("/place", "other")
    assert request.headers["Authorization"] == "fresh"
    assert request.headers["Sec-WebSocket-Protocol"] == "b"
    assert "X-Here" not in request.headers


def test_nothing_is_sent_before_onconnecting_is_done() -> None:
    future = Future()
    one = client({"onConnecting": lambda _: future})
    before = one.peer.received
    future.resolve()
    one.run()

    assert before == b""
    assert asked(one).target == "/"


@pytest.mark.parametrize("how", [lambda error: raising(error), lambda error: (_ for _ in ()).throw(error)])
def test_an_exception_in_onconnecting_ends_the_attempt(how: Callable[[Exception], object]) -> None:
    cause = RuntimeError(SECRET)
    one = client({"onConnecting": lambda _: how(cause)})
    error = error_of(one)

    assert str(error) == "onConnecting raised"
    assert error.__cause__ is cause
    assert log_of(one).failures == [cause]
    assert one.peer.received == b""
    assert cause_of(one) is CloseCause.HANDSHAKE_FAILED


@pytest.mark.parametrize("value", [WORLD, {"headers": SECRET}, Connecting("http://no", Headers())])  # type: ignore[arg-type]
def test_an_answer_of_onconnecting_that_cannot_be_ends_the_attempt(value: object) -> None:
    one = client({"onConnecting": lambda _: value})

    assert str(error_of(one)) == "onConnecting raised"
    assert SECRET not in repr(log_of(one).failures)


@pytest.mark.parametrize(
    "changes",
    [
        {"headers": Headers({"Cookie": SECRET + "\r\nX: y"})},
        {"headers": Headers({"Upgrade": "h2c"})},
        {"headers": Headers({"X": cast("str", 5)})},
        {"headers": 5},
        {"subprotocols": ("a", "a")},
        {"subprotocols": ("a b",)},
    ],
)
def test_a_request_that_cannot_be_sent_ends_the_attempt(changes: dict[str, Any]) -> None:
    one = client({"onConnecting": lambda details: replace(details, **changes)})

    assert str(error_of(one)).startswith("the request cannot be sent: ")
    assert SECRET not in str(error_of(one)) + repr(log_of(one).lines)
    assert one.peer.received == b""


# The server accepts.


def test_nothing_is_sent_without_tls_where_the_url_asks_for_it() -> None:
    """Not even the head: credentials are in it."""
    pending = Future()
    one = client({"onConnecting": lambda _: pending}, url=f"wss://anna:{SECRET}@localhost/")
    one.wire.secure = False
    pending.resolve(None)
    one.run()

    assert "wss://localhost/ is not asked over a connection without TLS" in str(error_of(one))
    assert SECRET not in str(error_of(one))
    assert (cause_of(one), one.peer.received) == (CloseCause.HANDSHAKE_FAILED, b"")


@every_way
def test_onconnect_sees_the_response(how: Callable[[object], object]) -> None:
    one = client({"onConnect": lambda _: how("ignored")}, subprotocols=["a", "b"])
    answered(one, upgrade_response(asked(one), "b", {"Set-Cookie": "x"}))
    response = one.session.calls[1][1]

    assert (response.status, response.headers["Set-Cookie"]) == (101, "x")
    assert one.session.subprotocol == "b"
    assert one.session.names == ["onConnecting", "onConnect", "onOpen"]


def test_frames_behind_the_101_wait_for_onconnect() -> None:
    """They may come in the same read, or while onConnect is pending."""
    future = Future()
    one = client({"onConnect": lambda _: future})
    answered(one, upgrade_response(asked(one)), text("1").encode())
    answered(one, text("2").encode())
    before = one.session.names
    future.resolve()
    one.run()

    assert before == ["onConnecting", "onConnect"]
    assert one.session.names == ["onConnecting", "onConnect", "onOpen", "onMessage", "onMessage"]
    assert one.session.messages == ["1", "2"]


def test_frames_behind_the_101_are_bounded_while_onconnect_is_pending() -> None:
    future = Future()
    one = client({"onConnect": lambda _: future}, readLimit=1024)
    answered(one, upgrade_response(asked(one)))
    one.peer.wire.read_size = 1000
    answered(one, *[text("x" * 100).encode()] * 100)
    left = one.peer.wire.unsent()
    future.resolve()
    one.run()

    assert left == 102 * 100 - 2000
    assert len(one.session.messages) == 100


@pytest.mark.parametrize("how", [lambda error: raising(error), lambda error: (_ for _ in ()).throw(error)])
def test_an_exception_in_onconnect_closes_with_1011(how: Callable[[Exception], object]) -> None:
    cause = RuntimeError(SECRET)
    one = client({"onConnect": lambda _: how(cause)})
    answered(one, upgrade_response(asked(one)), text("never seen").encode())
    frames = one.peer.frames()
    one.peer.wire.finish()
    one.run()

    assert frames == [close(1011)]
    assert log_of(one).failures == [cause]
    assert error_of(one).__cause__ is cause
    assert one.session.messages == []
    assert one.session.closeInfo is not None
    assert (one.session.closeInfo.cause, one.session.closeInfo.localCode) == (CloseCause.APPLICATION_ERROR, 1011)


def test_a_server_that_never_ends_tcp_after_1011_is_left() -> None:
    one = client({"onConnect": lambda _: raising(RuntimeError())}, closeHandshakeTimeout=5)
    answered(one, upgrade_response(asked(one)))
    one.advance(5.3)

    assert one.wire.aborted
    assert one.session.names[-1] == "onClose"


# The server refuses.


def refused(one: Alone[RecordingClient]) -> HandshakeError:
    error = error_of(one)
    assert isinstance(error, HandshakeError)
    assert cause_of(one) is CloseCause.HANDSHAKE_REFUSED
    return error


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        (b"Content-Length: 5\r\n\r\n", b"sorry"),
        (b"Content-Length: 5\r\n\r\n", b"sorry, this is more"),
        (b"Transfer-Encoding: chunked\r\n\r\n", b"2\r\nso\r\n3\r\nrry\r\n0\r\n\r\n"),
    ],
)
def test_a_refusal_is_told_with_status_headers_and_body(framing: bytes, body: bytes) -> None:
    one = client()
    error = refused(answered(one, b"HTTP/1.1 401 Who Are You\r\nWWW-Authenticate: Basic\r\n" + framing, body))

    assert (error.status, error.reason, error.body) == (401, "Who Are You", b"sorry")
    assert isinstance(error.headers, Headers)
    assert error.headers["WWW-Authenticate"] == "Basic"
    assert str(error) == "the server answered 401 Who Are You"
    assert one.wire.aborted


def test_the_body_of_a_refusal_may_end_with_the_connection() -> None:
    one = client()
    answered(one, b"HTTP/1.1 404 Not Found\r\n\r\n", b"not ")
    answered(one, b"here")
    before = one.session.names
    one.peer.wire.finish()
    one.run()

    assert before == ["onConnecting"]
    assert refused(one).body == b"not here"


def test_the_body_of_a_refusal_may_end_with_a_reset() -> None:
    one = client()
    answered(one, b"HTTP/1.1 404 Not Found\r\nContent-Length: 100\r\n\r\nnot")
    one.lose()

    assert refused(one).body == b"not"


def test_the_body_of_a_refusal_is_bounded() -> None:
    one = client()
    error = refused(answered(one, b"HTTP/1.1 500 Oops\r\n\r\n", bytes(1_000_000)))

    assert error.body == bytes(64 * 1024)


def test_a_body_that_never_ends_is_told_as_far_as_it_came() -> None:
    """What the server said is worth more than that it was slow."""
    one = client(openHandshakeTimeout=3)
    answered(one, b"HTTP/1.1 403 No\r\nContent-Length: 100\r\n\r\nnot")
    one.advance(3.01)
    error = refused(one)

    assert (error.status, error.body) == (403, b"not")


def test_control_characters_of_a_refusal_stay_out_of_its_text() -> None:
    one = client()
    error = refused(answered(one, b"HTTP/1.1 403 \x9b31mred\r\nContent-Length: 0\r\n\r\n"))

    assert str(error) == "the server answered 403 \\x9b31mred"


def test_a_redirect_is_a_refusal_to_who_does_not_follow() -> None:
    one = client()
    error = refused(answered(one, b"HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n"))

    assert (type(error), error.status) == (HandshakeError, 302)


@pytest.mark.parametrize("ends", ["resolve", "reject"])
def test_onclose_waits_until_onhandshakefailed_is_done(ends: str) -> None:
    """Whoever waits for the shutdown waits for both; who dials does not."""
    reported = Future()
    one = client({"onHandshakeFailed": lambda _: reported})
    opened = one.session._ws_opened = one.session.factory.flavour.futures.create()
    answered(one, b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
    assert isinstance(opened, Future)
    down: Any = one.session.factory.shutdown()
    early = one.session.names, opened.done, down.done
    (reported.resolve if ends == "resolve" else lambda: reported.reject(RuntimeError()))()
    one.run()

    assert early == (["onConnecting", "onHandshakeFailed"], True, False)
    assert one.session.names == ["onConnecting", "onHandshakeFailed", "onClose"]
    assert down.done


# Who dials: asks for a future, prepares, connects, and may follow redirects.


class Dialled:
    """A client that is not connected yet; *dial* is what was ready when."""

    def __init__(self, callbacks: dict[str, Callable[..., object]] | None = None, **options: Any) -> None:
        members = {
            name: lambda self, *args, callback=callback: callback(*args) for name, callback in (callbacks or {}).items()
        }
        protocol: type[RecordingClient] = type("Client", (RecordingClient,), members)
        self.factory = ClientFactory(WORLD, protocol, **options)
        self.session = self.factory.buildProtocol()
        self.opened = self.session._ws_opened = self.factory.flavour.futures.create()
        self.ready: list[Connecting] = []
        self.session._ws_prepare(self.factory.details, self.ready.append, follows=True)

    def outcome(self) -> object:
        assert isinstance(self.opened, Future)
        return self.opened.result()


def connect(dialled: Dialled) -> Alone[RecordingClient]:
    """Connect TCP."""
    one = Alone.__new__(Alone)
    Alone.__init__(one, dialled.factory.reactor, dialled.session)
    one.run()
    return one


def test_who_dials_gets_the_protocol_once_it_is_open() -> None:
    dialled = Dialled()
    one = connect(dialled)
    assert isinstance(dialled.opened, Future)
    before = dialled.opened.done
    answered(one, upgrade_response(asked(one)))

    assert not before
    assert dialled.ready == [dialled.factory.details]
    assert dialled.outcome() is dialled.session


def test_who_dials_is_told_where_a_redirect_leads() -> None:
    """The protocol itself has not failed: it gets onClose, and another one goes on."""
    dialled = Dialled()
    one = connect(dialled)
    answered(one, b"HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n")

    with pytest.raises(Redirected) as redirect:
        dialled.outcome()
    assert redirect.value.url == parse_url("ws://localhost/there")
    assert dialled.session.names == ["onConnecting", "onClose"]
    assert dialled.session.calls[-1] == ("onClose", False, 1006, "redirected to ws://localhost/there")


def test_a_redirect_is_asked_about_as_the_first_request_was() -> None:
    """What onConnecting added it adds again: only the URL is taken from its answer."""

    def with_token(details: Connecting) -> Connecting:
        return replace(details, url="ws://localhost/elsewhere/", headers=[*details.headers, ("Authorization", "x")])  # type: ignore[arg-type]

    dialled = Dialled({"onConnecting": with_token}, headers={"X": "y"})
    answered(connect(dialled), b"HTTP/1.1 302 Found\r\nLocation: there\r\nContent-Length: 0\r\n\r\n")

    with pytest.raises(Redirected) as redirect:
        dialled.outcome()
    assert redirect.value.url == parse_url("ws://localhost/elsewhere/there")
    assert redirect.value.request_headers == Headers({"X": "y"})


def test_a_redirect_to_nowhere_is_a_failure() -> None:
    dialled = Dialled()
    one = connect(dialled)
    answered(one, b"HTTP/1.1 302 Found\r\nLocation: ftp://x/\r\nContent-Length: 0\r\n\r\n")

    with pytest.raises(HandshakeError, match="ftp"):
        dialled.outcome()
    assert dialled.session.names == ["onConnecting", "onHandshakeFailed", "onClose"]


def test_what_cannot_be_dialled_fails_at_once() -> None:
    dialled = Dialled({"onConnecting": lambda _: raising(RuntimeError())})

    with pytest.raises(HandshakeError, match="onConnecting raised"):
        dialled.outcome()
    assert dialled.ready == []
    assert dialled.session.names == ["onHandshakeFailed", "onClose"]


def test_dialling_too_long_is_a_timeout() -> None:
    dialled = Dialled(openHandshakeTimeout=3)
    dialled.factory.reactor.advance(3.01)

    with pytest.raises(HandshakeTimeout, match="not open within 3 s"):
        dialled.outcome()


def test_a_connection_that_comes_after_it_was_given_up_is_dropped() -> None:
    dialled = Dialled()
    dialled.session.dropConnection()
    dialled.factory.reactor.advance(0)
    one = connect(dialled)

    assert one.wire.aborted
    assert dialled.session.names == ["onConnecting", "onHandshakeFailed", "onClose"]
    assert dialled.factory.openings == set()


def test_a_shutdown_does_not_wait_for_an_attempt() -> None:
    dialled = Dialled()
    done = dialled.factory.shutdown()
    dialled.factory.reactor.advance(0)

    assert isinstance(done, Future)
    assert done.done
    assert dialled.session.names == ["onConnecting", "onHandshakeFailed", "onClose"]


# Other ways to fail.


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "Accept"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "not HTTP/1.1"),
        (b"HTTP/1.1 101 Switching Protocols\r\nX: " + b"x" * 70_000, "too long"),
    ],
)
def test_an_answer_that_is_none_fails(said: bytes, why: str) -> None:
    one = client()
    error = error_of(answered(one, said))

    assert isinstance(error, HandshakeError)
    assert why in str(error)
    assert cause_of(one) is CloseCause.HANDSHAKE_FAILED
    assert one.wire.aborted


def test_an_answer_before_the_request_fails() -> None:
    one = client({"onConnecting": lambda _: Future()})
    error = error_of(answered(one, b"HTTP/1.1 101 Switching Protocols\r\n\r\n"))

    assert "before the request" in str(error)


@pytest.mark.parametrize(
    "leave", [lambda one: one.peer.wire.finish(), lambda one: one.peer.wire.abort(), lambda one: one.lose()]
)
def test_a_server_that_leaves_is_a_failure(leave: Callable[[Alone[RecordingClient]], object]) -> None:
    one = client()
    leave(one)
    one.run()
    error = error_of(one)

    assert isinstance(error, HandshakeError)
    assert error.status == 0
    assert cause_of(one) is CloseCause.CONNECTION_LOST


def test_the_timeout_is_exact() -> None:
    one = client(openHandshakeTimeout=0.3)
    one.advance(0.29)
    before = one.session.names
    one.advance(0.02)

    assert before == ["onConnecting"]
    assert isinstance(error_of(one), HandshakeTimeout)
    assert cause_of(one) is CloseCause.OPEN_TIMEOUT
    assert one.wire.aborted


@pytest.mark.parametrize("name", ["onConnecting", "onConnect"])
@pytest.mark.parametrize("end", ["timeout", "drop", "leave"])
def test_what_is_pending_is_cancelled_when_it_fails(name: str, end: str) -> None:
    """And logged by nobody."""
    cancelled = []

    async def wait(_: object) -> None:
        try:
            await Future()
        except Cancelled:
            cancelled.append(name)
            raise

    one = client({name: wait}, openHandshakeTimeout=3)
    if name == "onConnect":
        answered(one, upgrade_response(asked(one)))
    if end == "drop":
        one.session.dropConnection()
    elif end == "leave":
        one.peer.wire.finish()
    one.advance(3.01)

    assert cancelled == [name]
    assert isinstance(error_of(one), HandshakeError)
    assert log_of(one).failures == []


@pytest.mark.parametrize("abort", [False, True])
def test_dropping_it_is_a_failure_that_is_told_later(abort: bool) -> None:
    one = client()
    one.session.dropConnection(abort)
    before = one.session.names
    one.run()

    assert before == ["onConnecting"]
    assert str(error_of(one)) == "dropped by the application"
    assert cause_of(one) is CloseCause.DROPPED


def test_an_exception_in_onhandshakefailed_is_only_logged() -> None:
    broken = RuntimeError("broken")
    one = client({"onHandshakeFailed": lambda _: raising(broken)})
    one.lose()

    assert log_of(one).failures == [broken]
    assert one.session.names[-1] == "onClose"


def test_cookies_and_credentials_are_never_in_the_log() -> None:
    """Nor in an error's text."""
    for said in (b"HTTP/1.1 403 No\r\nSet-Cookie: s3cret\r\n\r\n", b"HTTP/1.1 101 X\r\nSet-Cookie: s3cret\r\n\r\n"):
        one = client(url=f"ws://user:{SECRET}@localhost/", headers={"Cookie": SECRET})
        sent = asked(one)
        answered(one, said)
        one.lose()
        error = error_of(one)
        assert isinstance(error, HandshakeError)
        told = [str(error), repr(error.headers), repr(one.session.calls), log_of(one).lines, repr(sent.headers)]

        assert sent.headers["Cookie"] == SECRET
        assert SECRET not in repr(told)


def test_nothing_is_sent_or_closed_before_it_is_open() -> None:
    one = client()
    with pytest.raises(WebSocketError, match="not open yet"):
        one.session.sendMessage("x")
    with pytest.raises(WebSocketError, match="not open yet"):
        one.session.sendClose()
    one.session.flush()

    assert one.session.bufferedAmount == 0
    assert not one.session.isOpen


def test_once_it_has_failed_it_is_closed() -> None:
    one = client()
    one.lose()
    one.session.sendClose()
    one.session.dropConnection()
    with pytest.raises(WebSocketError, match="closed"):
        one.session.sendMessage("x")

    assert one.session.names == ["onConnecting", "onHandshakeFailed", "onClose"]
