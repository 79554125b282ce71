"""The opening handshake of a session: what both sides have in common, and a client's (RFC 6455 section 4).

``handshake.py`` knows what the heads must say; this knows when: it asks the application (``onConnect`` may take its
time, bytes that arrive meanwhile are kept up to ``readLimit``), reads a bounded head, and hands the session its
connection.  ``openHandshakeTimeout`` runs from connected to ``onOpen``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from wsfactory import handshake_client
from wsfactory.bodies import BodyReader
from wsfactory.callbacks import call
from wsfactory.errors import ConnectError, HandshakeError, HandshakeTimeout, MalformedHead, WebSocketError
from wsfactory.events import CloseCause, CloseInfo
from wsfactory.frames import FIN, CloseCode, Opcode, close_payload
from wsfactory.http11 import (
    Headers,
    HeadReader,
    Response,
    escaped,
    response_reader,
)
from wsfactory.redirects import REDIRECTS, redirected
from wsfactory.timing import Deadline, ProgressDeadline
from wsfactory.urls import URL, parse_url

if TYPE_CHECKING:
    from wsfactory.flavour import Future, Transport
    from wsfactory.session import ClientSession, Session

__all__ = ["ClientOpening", "Connecting", "Opening", "Redirected"]

DROPPED: Final = "dropped by the application"


@dataclass(frozen=True, slots=True)
class Connecting:
    """What ``onConnecting`` gets, and may return changed: where to connect, and what to say there."""

    url: URL
    headers: Headers = field(default_factory=Headers)
    subprotocols: Sequence[str] = ()


class Redirected(HandshakeError):
    """The server sends us elsewhere, and whoever dials is willing to go there."""

    def __init__(self, url: URL, headers: Headers, response: Response) -> None:
        super().__init__(f"redirected to {url}", response.status, response.reason, response.headers)
        self.url = url
        self.request_headers = headers


class Opening:
    """What both sides have in common: the deadline, the question to the application, bytes that came early, one end."""

    __slots__ = ("_called", "_deadline", "_early", "_over", "_pending", "_reading_paused")

    _session: Session

    def __init__(self) -> None:
        self._early = bytearray()
        self._pending: Future | None = None
        self._called = False
        self._over: CloseInfo | None = None
        self._reading_paused = False
        seconds = self._session._ws_options.openHandshakeTimeout
        wheel = self._session._ws_flavour.wheel
        self._deadline: Deadline | ProgressDeadline | None = (
            wheel.after(seconds, self._timed_out) if seconds is not None else None
        )

    @property
    def over(self) -> bool:
        """Whether it has failed; what is missing is the end of TCP."""
        return self._over is not None

    @property
    def _wire(self) -> Transport:
        assert self._session._ws_wire is not None
        return self._session._ws_wire

    def receive(self, data: bytes) -> None:
        """Take bytes from the wire; once it is over they are discarded."""
        raise NotImplementedError

    def _timed_out(self) -> None:
        raise NotImplementedError

    def _ask(
        self,
        callback: Callable[..., object],
        subject: object,
        *,
        then: Callable[[object], object],
        failed: Callable[[BaseException], object],
    ) -> None:
        """Call the application, and go on with its answer, unless it is over by then."""
        answered = False

        def go_on(step: Callable[..., object], answer: object) -> None:
            nonlocal answered
            answered, self._pending = True, None
            if self._over is None:
                step(answer)

        flavour = self._session._ws_flavour
        pending = call(flavour, callback, subject, done=partial(go_on, then), failed=partial(go_on, failed))
        if not answered:
            self._pending = pending
        if self._over is not None:
            self._cancel_pending()

    def _cancel_pending(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            self._session._ws_flavour.futures.cancel(pending)

    def _keep(self, data: bytes) -> None:
        self._early += data
        if len(self._early) >= self._session._ws_options.readLimit and not self._reading_paused:
            self._reading_paused = True
            self._wire.pause()

    def _opens(self, subprotocol: str | None) -> None:
        self._stop()
        conversation = self._session._ws_open(subprotocol, bytes(self._early))
        if self._reading_paused and not conversation.inbox.stopped:
            self._wire.resume()

    def _ends(self, cause: CloseCause, reason: str) -> bool:
        """Note how it ended; False: it had ended before."""
        if self._over is not None:
            return False
        self._stop()
        self._over = CloseInfo(False, int(CloseCode.ABNORMAL), reason, cause)
        return True

    def _stop(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()

    def _end_tcp(self) -> None:
        """Let our last words leave, then discard input until EOF; abort when that makes no progress."""
        self._wire.finish()
        self._wire.resume()
        seconds = self._session._ws_options.closeHandshakeTimeout
        if seconds is not None:
            wire = self._wire
            self._deadline = ProgressDeadline(self._session._ws_flavour.wheel, seconds, wire.unsent, wire.abort)


class ClientOpening(Opening):
    """The client's side: the application is asked, a request is sent, the response judged.

    With *follows* a redirect ends the attempt with ``Redirected``, which only whoever dials sees.
    """

    __slots__ = (
        "_asked",
        "_body",
        "_details",
        "_error",
        "_follows",
        "_given",
        "_reader",
        "_session",
        "_step",
        "_telling",
        "_told",
    )

    def __init__(self, session: ClientSession, details: Connecting, follows: bool = False) -> None:
        self._session: ClientSession = session
        # As they were given, and as onConnecting changed them: a redirect begins with the former.
        self._given = self._details = details
        self._asked: handshake_client.Ask | None = None
        self._reader: HeadReader[Response] | None = response_reader()
        self._body: tuple[Response, BodyReader] | None = None
        self._error: WebSocketError = HandshakeError(DROPPED)
        # Whether onHandshakeFailed has been called, whether it is under way, and what then comes.
        self._told = self._telling = False
        self._step: Callable[[], object] | None = None
        self._follows = follows
        super().__init__()

    # Before TCP is connected, or as soon as it is.

    def prepare(self, ready: Callable[[Connecting], object]) -> None:
        """Ask ``onConnecting``, then call *ready* with where to connect."""
        self._called = True
        self._ask(
            self._session.onConnecting,
            self._details,
            then=partial(self._prepared, ready),
            failed=partial(self._raised, "onConnecting"),
        )

    def _prepared(self, ready: Callable[[Connecting], object], answer: object) -> None:
        try:
            self._details = _changed(self._details, answer)
        except (TypeError, ValueError) as error:
            self._raised("onConnecting", error)
            return
        ready(self._details)

    def send(self) -> None:
        """Send the request; TCP is connected."""
        if self._over is not None:
            self._wire.abort()
            return
        details = self._details
        if details.url.secure and not self._wire.secure:
            unsafe = f"{details.url} is not asked over a connection without TLS: make it with TLS, or with connect()"
            self.fail(CloseCause.HANDSHAKE_FAILED, HandshakeError(unsafe))
            return
        try:
            self._asked = handshake_client.ask(details.url, subprotocols=details.subprotocols, headers=details.headers)
            request = self._asked.encode()
        except (TypeError, ValueError, AttributeError) as error:
            self.fail(CloseCause.HANDSHAKE_FAILED, HandshakeError(f"the request cannot be sent: {error}"))
            return
        self._wire.write([request])

    # What the server answers.

    def receive(self, data: bytes) -> None:
        """Take bytes from the wire; once it is over they are discarded."""
        if self._over is not None:
            return
        if self._body is not None:
            self._read_body(self._body[1], data)
        elif self._reader is None:
            self._keep(data)
        else:
            self._read_head(self._reader, data)

    def _read_head(self, reader: HeadReader[Response], data: bytes) -> None:
        try:
            response = reader.feed(data)
        except MalformedHead as error:
            self.fail(CloseCause.HANDSHAKE_FAILED, HandshakeError(f"the answer is not HTTP/1.1: {error}"))
            return
        if response is None:
            return
        self._reader = None
        if response.status == 101:
            self._keep(reader.rest)
            self._consider(response)
        else:
            body = BodyReader(response)
            self._body = response, body
            self._read_body(body, reader.rest)

    def _consider(self, response: Response) -> None:
        try:
            if self._asked is None:
                raise HandshakeError("an answer came before the request", response.status)
            accepted = handshake_client.check_response(self._asked, response)
        except HandshakeError as error:
            self.fail(CloseCause.HANDSHAKE_FAILED, error)
            return
        self._ask(
            self._session.onConnect,
            response,
            then=lambda _: self._opens(accepted.subprotocol),
            failed=self._on_connect_raised,
        )

    def _on_connect_raised(self, error: BaseException) -> None:
        """The connection is open on the wire: it closes with 1011, and onOpen is not called."""
        code = CloseCode.INTERNAL_ERROR
        self._session._ws_log_failure("onConnect", error)
        self._wire.write([self._session.factory.encoder.frame(FIN | Opcode.CLOSE, close_payload(code))])
        failed = HandshakeError("onConnect raised")
        failed.__cause__ = error
        self._ends(CloseCause.APPLICATION_ERROR, str(failed))
        assert self._over is not None
        self._over = replace(self._over, begunBy="local", localCode=int(code))
        self._tell(failed)
        self._end_tcp()

    def _read_body(self, body: BodyReader, data: bytes) -> None:
        if body.feed(data):
            self._refused()

    def _refused(self) -> None:
        """The server has given its reasons, as far as they came."""
        assert self._body is not None
        response = replace(self._body[0], body=self._body[1].body)
        answer = f"the server answered {response.status} {escaped(response.reason)}".rstrip()
        error = HandshakeError(answer, response.status, response.reason, response.headers, response.body)
        if self._follows and response.status in REDIRECTS:
            try:
                url, headers = redirected(self._details.url, response, self._given.headers)
                error = Redirected(url, headers, response)
            except HandshakeError as refused:
                error = refused
        self.fail(CloseCause.HANDSHAKE_REFUSED, error)

    # How it fails.

    def fail(self, cause: CloseCause, error: WebSocketError) -> None:
        """It will not open: tell the application why, then end TCP."""
        if self._ends(cause, str(error)):
            self._cancel_pending()
            self._tell(error)
            if self._session._ws_wire is None:
                self.lost(str(error))
            else:
                self._wire.abort()

    def _tell(self, error: WebSocketError) -> None:
        self._told = True
        self._error = error
        if self._called and not isinstance(error, Redirected):
            self._telling = True
            failed = self._session.onHandshakeFailed
            self._session._ws_call_quietly("onHandshakeFailed", failed, error, then=self._has_told)

    def _has_told(self) -> None:
        self._telling = False
        if self._step is not None:
            self._step()

    def when_told(self, step: Callable[[], object]) -> None:
        """Take *step* once onHandshakeFailed is done."""
        if self._telling:
            self._step = step
        else:
            step()

    def _raised(self, name: str, error: BaseException) -> None:
        self._session._ws_log_failure(name, error)
        failed = HandshakeError(f"{name} raised")
        failed.__cause__ = error
        self.fail(CloseCause.HANDSHAKE_FAILED, failed)

    def _timed_out(self) -> None:
        if self._body is not None:
            self._refused()
            return
        seconds = self._session._ws_options.openHandshakeTimeout
        self.fail(CloseCause.OPEN_TIMEOUT, HandshakeTimeout(f"not open within {seconds:g} s"))

    def not_connected(self, why: str, cause: BaseException) -> None:
        """No TCP (or TLS) connection could be made."""
        failed = ConnectError(why)
        failed.__cause__ = cause
        self.fail(CloseCause.CONNECT_FAILED, failed)

    def shut_down(self) -> None:
        """The factory shuts down: there is nothing to wait for."""
        self.drop()

    def drop(self) -> None:
        """The application ends it; it is called back, and what it is asked cancelled, later."""
        self._ends(CloseCause.DROPPED, DROPPED)
        if self._session._ws_wire is None:
            self._session._ws_flavour.soon(partial(self.lost, DROPPED))
        else:
            self._wire.abort()

    def eof(self) -> None:
        """The server closed."""
        if self._over is None and self._body is not None:
            self._refused()
        elif self._over is None:
            left = HandshakeError("the server closed during the opening handshake")
            self.fail(CloseCause.CONNECTION_LOST, left)

    def lost(self, reason: str) -> None:
        """TCP is gone."""
        if self._over is None and self._body is not None:
            self._refused()
        self.fail(CloseCause.CONNECTION_LOST, HandshakeError(f"lost during the opening handshake: {reason}"))
        self._stop()
        self._cancel_pending()
        if not self._told:
            self._tell(self._error)
        assert self._over is not None
        self._session._ws_open_failed(self._over, self._error, self._called)


def _changed(details: Connecting, answer: object) -> Connecting:
    """What onConnecting returned; the URL may be text."""
    if answer is None:
        return details
    if not isinstance(answer, Connecting):
        raise TypeError(f"onConnecting returned {kind_of(answer)}, not None or Connecting")
    return replace(answer, url=parse_url(answer.url)) if isinstance(answer.url, str) else answer


def kind_of(answer: object) -> str:
    # Not its value: it may hold a cookie, and this goes to the log.
    return f"something of type {type(answer).__name__}"
