"""The opening handshake of a session: from connected to open, or refused (RFC 6455 section 4).

``handshake.py`` knows what the heads must say; this knows when: it reads a bounded head, asks the application
(``onConnect`` may take its time, bytes that arrive meanwhile are kept up to ``readLimit``), answers, and hands the
session its connection.  ``openHandshakeTimeout`` runs from connected to ``onOpen``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from wsfactory import handshake, handshake_client
from wsfactory.bodies import BodyReader
from wsfactory.callbacks import call
from wsfactory.errors import ConnectError, HandshakeError, HandshakeTimeout, MalformedHead, Refused, WebSocketError
from wsfactory.events import CloseCause, CloseInfo
from wsfactory.frames import FIN, CloseCode, Opcode, close_payload
from wsfactory.http11 import Headers, HeadReader, Request, Response, encode_response, request_reader, response_reader
from wsfactory.redirects import REDIRECTS, redirected
from wsfactory.timing import Deadline
from wsfactory.urls import URL

if TYPE_CHECKING:
    from wsfactory.flavour import Future
    from wsfactory.session import ClientSession, ServerSession, Session

__all__ = ["ClientOpening", "Connecting", "Redirected", "ServerOpening"]

RETRY_AFTER_SECONDS = "5"


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


class _Opening:
    """What both sides have in common: the deadline, bytes that came early, one end."""

    __slots__ = ("_called", "_deadline", "_early", "_over", "_pending", "_reading_paused")

    def __init__(self, session: Session) -> None:
        self._early = bytearray()
        self._pending: Future | None = None
        self._called = False
        self._over: CloseInfo | None = None
        self._reading_paused = False
        seconds = session._options.openHandshakeTimeout
        wheel = session._flavour.wheel
        self._deadline: Deadline | None = wheel.after(seconds, self._timed_out) if seconds is not None else None

    def _timed_out(self) -> None:
        raise NotImplementedError

    def _keep(self, session: Session, data: bytes) -> None:
        self._early += data
        if len(self._early) >= session._options.readLimit and not self._reading_paused:
            self._reading_paused = True
            session._wire.pause()

    def _opens(self, session: Session, subprotocol: str | None) -> None:
        self._stop()
        session._open(subprotocol, bytes(self._early))
        if self._reading_paused and not session._inbox.stopped:
            session._wire.resume()

    def _stop(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()

    def _cancel_pending(self, session: Session) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            session._flavour.futures.cancel(pending)

    def _ends(self, cause: CloseCause, reason: str) -> bool:
        """Note how it ended; False: it had ended before."""
        self._stop()
        if self._over is not None:
            return False
        self._over = CloseInfo(False, int(CloseCode.ABNORMAL), reason, cause)
        return True


class ServerOpening(_Opening):
    """The server's side: a request is read, judged, shown to the application, answered."""

    __slots__ = ("_reader", "_session")

    def __init__(self, session: ServerSession) -> None:
        self._session = session
        self._reader: HeadReader[Request] | None = request_reader()
        super().__init__(session)

    def receive(self, data: bytes) -> None:
        """Take bytes from the wire."""
        if self._over is not None:
            return
        if self._reader is None:
            self._keep(self._session, data)
            return
        try:
            request = self._reader.feed(data)
        except MalformedHead as error:
            self._refuse(error)
            return
        if request is not None:
            rest, self._reader = self._reader.rest, None
            self.take(replace(request, peer=self._session.peer), rest)

    def take(self, request: Request, rest: bytes = b"") -> None:
        """Go on with *request*, however it was parsed, and the bytes that came behind it."""
        self._reader = None
        self._keep(self._session, rest)
        if self._session.factory.shuttingDown:
            self._refuse(Refused(503, "Service Unavailable", {"Retry-After": RETRY_AFTER_SECONDS}, log="shutting down"))
        elif not handshake.is_upgrade(request):
            self._ask(self._session.processRequest, request, lambda answer: self._answer_plainly(request, answer))
        else:
            self._consider(request)

    def _consider(self, request: Request) -> None:
        try:
            offer = handshake.read_offer(request, allowed_origins=self._session._options.allowedOrigins)
        except Refused as error:
            self._refuse(error)
            return
        self._called = True
        self._ask(self._session.onConnect, request, lambda answer: self._accept(offer, answer))

    def _ask(self, callback: object, request: Request, done: object) -> None:
        futures = self._session._flavour.futures
        pending = call(futures, callback, request, done=done, failed=self._raised)  # type: ignore[arg-type]
        if self._over is None and self._session._opening is self:
            self._pending = pending

    def _accept(self, offer: handshake.Offer, answer: object) -> None:
        if self._over is not None:
            return
        self._pending = None
        session = self._session
        try:
            subprotocol, headers = _choice(answer)
            if subprotocol is None:
                subprotocol = handshake.choose_subprotocol(offer, session.factory.subprotocols)
            head = handshake.accept(offer, subprotocol, [*session.factory.headers, *headers])
        except Refused as error:
            self._refuse(error, loud=True)
            return
        session._wire.write([head])
        self._opens(session, subprotocol)

    def _answer_plainly(self, request: Request, answer: object) -> None:
        if self._over is not None:
            return
        self._pending = None
        if isinstance(answer, Response):
            self._respond(_plain_response(answer), "a plain HTTP request was answered")
        else:
            self._refuse(handshake.not_an_upgrade(request))

    def _raised(self, error: BaseException) -> None:
        if self._over is not None:
            return
        self._pending = None
        if isinstance(error, Refused):
            self._refuse(error)
            return
        self._session._log_failure("onConnect", error)
        self._refuse(Refused(500, "Internal Server Error", log="onConnect raised"))

    def _refuse(self, error: Refused, loud: bool = False) -> None:
        log = self._session._flavour.log
        (log.error if loud else log.info)(
            "refused {peer} with {status}: {why}", peer=self._session.peer, status=error.status, why=str(error)
        )
        self._respond(handshake.refusal(error), str(error))

    def _respond(self, response: bytes, reason: str, cause: CloseCause = CloseCause.HANDSHAKE_REFUSED) -> None:
        if not self._ends(cause, reason):
            return
        session = self._session
        session._wire.write([response])
        session._wire.finish()
        session._wire.resume()
        session._give_up_closing_later()

    def _timed_out(self) -> None:
        self._cancel_pending(self._session)
        # RFC 9110 15.5.9: "the server did not receive a complete request message within the time [...] prepared to wait"
        late = Refused(408 if self._reader is not None else 503, log="the opening handshake took too long")
        self._respond(handshake.refusal(late), str(late), CloseCause.OPEN_TIMEOUT)

    def fail(self, cause: CloseCause, error: WebSocketError) -> None:
        """End it from our side, without an answer."""
        self._ends(cause, str(error))
        self._cancel_pending(self._session)
        self._session._wire.abort()

    def eof(self) -> None:
        """The peer left."""
        self._ends(CloseCause.CONNECTION_LOST, "the client left during the opening handshake")
        self._cancel_pending(self._session)
        self._session._wire.abort()

    def lost(self, reason: str) -> None:
        """TCP is gone."""
        self._ends(CloseCause.CONNECTION_LOST, reason)
        self._cancel_pending(self._session)
        assert self._over is not None
        self._session._open_failed(self._over, HandshakeError(self._over.reason), self._called)


class ClientOpening(_Opening):
    """The client's side: the application is asked, a request is sent, the response judged.

    With *follows* a redirect ends the attempt with ``Redirected``, which only whoever dials sees.
    """

    __slots__ = ("_ask", "_body", "_details", "_error", "_reader", "_session", "follows")

    def __init__(self, session: ClientSession, details: Connecting, follows: bool = False) -> None:
        self._session = session
        self._details = details
        self._ask: handshake_client.Ask | None = None
        self._reader: HeadReader[Response] | None = response_reader()
        self._body: tuple[Response, BodyReader] | None = None
        self._error: WebSocketError | None = None
        self.follows = follows
        super().__init__(session)

    # Before TCP is connected, or as soon as it is.

    def prepare(self, ready: object) -> None:
        """Ask ``onConnecting``, then call ``ready(details)``."""
        self._called = True

        def done(answer: object) -> None:
            self._pending = None
            if self._over is None:
                self._details = answer if isinstance(answer, Connecting) else self._details
                ready(self._details)  # type: ignore[operator]

        session = self._session
        pending = call(session._flavour.futures, session.onConnecting, self._details, done=done, failed=self._raised)
        if self._over is None and self._ask is None:
            self._pending = pending

    def send(self) -> None:
        """Send the request."""
        details = self._details
        try:
            self._ask = handshake_client.ask(details.url, subprotocols=details.subprotocols, headers=details.headers)
            request = self._ask.encode()
        except ValueError as error:
            self.fail(CloseCause.HANDSHAKE_FAILED, HandshakeError(str(error)))
            return
        self._session._wire.write([request])

    def receive(self, data: bytes) -> None:
        """Take bytes from the wire."""
        if self._over is not None:
            return
        if self._body is not None:
            self._read_body(data)
        elif self._reader is None:
            self._keep(self._session, data)
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
            self._keep(self._session, reader.rest)
            self._consider(response)
        else:
            self._body = response, BodyReader(response)
            self._read_body(reader.rest)

    def _consider(self, response: Response) -> None:
        session = self._session
        if self._ask is None:
            self.fail(CloseCause.HANDSHAKE_FAILED, HandshakeError("an answer came before the request", 101))
            return
        try:
            accepted = handshake_client.check_response(self._ask, response)
        except HandshakeError as error:
            self.fail(CloseCause.HANDSHAKE_FAILED, error)
            return
        pending = call(
            session._flavour.futures,
            session.onConnect,
            response,
            done=lambda _: self._accepted(accepted.subprotocol),
            failed=self._on_connect_raised,
        )
        if self._over is None and session._opening is self:
            self._pending = pending

    def _accepted(self, subprotocol: str | None) -> None:
        self._pending = None
        if self._over is None:
            self._opens(self._session, subprotocol)

    def _on_connect_raised(self, error: BaseException) -> None:
        """The connection is open on the wire: it closes with 1011, and onOpen is not called."""
        self._pending = None
        if self._over is None:
            self._session._log_failure("onConnect", error)
            close = self._session.factory.encoder.frame(FIN | Opcode.CLOSE, close_payload(CloseCode.INTERNAL_ERROR))
            self._session._wire.write([close])
            self.fail(CloseCause.APPLICATION_ERROR, HandshakeError("onConnect raised"), log=False, finish=True)

    def _read_body(self, data: bytes) -> None:
        assert self._body is not None
        if self._body[1].feed(data):
            self._refused()

    def _refused(self) -> None:
        assert self._body is not None
        response = replace(self._body[0], body=self._body[1].body)
        error = HandshakeError(
            f"the server answered {response.status} {response.reason}".rstrip(),
            response.status,
            response.reason,
            response.headers,
            response.body,
        )
        if self.follows and response.status in REDIRECTS:
            try:
                error = self._redirected(response)
            except HandshakeError as refused:
                error = refused
        self.fail(CloseCause.HANDSHAKE_REFUSED, error)

    def _redirected(self, response: Response) -> HandshakeError:
        url, headers = redirected(self._details.url, response, self._details.headers)
        return Redirected(url, headers, response)

    # How it fails.

    def _raised(self, error: BaseException) -> None:
        self._pending = None
        if self._over is None:
            self._session._log_failure("onConnecting", error)
            failed = HandshakeError("onConnecting raised")
            failed.__cause__ = error
            self.fail(CloseCause.HANDSHAKE_FAILED, failed)

    def _timed_out(self) -> None:
        seconds = self._session._options.openHandshakeTimeout
        self.fail(CloseCause.OPEN_TIMEOUT, HandshakeTimeout(f"not open within {seconds:g} s"))

    def fail(
        self, cause: CloseCause, error: WebSocketError, *, log: bool = True, finish: bool = False
    ) -> None:
        """It will not open: tell the application why, then end TCP."""
        if not self._ends(cause, str(error)):
            return
        self._error = error
        session = self._session
        self._cancel_pending(session)
        if self._called and not isinstance(error, Redirected):
            session._call_quietly("onHandshakeFailed", session.onHandshakeFailed, error)
        if session._wire is None:
            self.lost(str(error))
        elif finish:
            session._wire.finish()
            session._give_up_closing_later()
        else:
            session._wire.abort()

    def not_connected(self, error: ConnectError) -> None:
        """No TCP connection could be made."""
        self.fail(CloseCause.CONNECT_FAILED, error)

    def eof(self) -> None:
        """The server closed."""
        if self._body is not None and self._over is None:
            self._body[1].eof()
            self._refused()
            return
        self.fail(CloseCause.CONNECTION_LOST, HandshakeError("the server closed during the opening handshake"))

    def lost(self, reason: str) -> None:
        """TCP is gone."""
        if self._over is None and self._body is not None:
            self._body[1].eof()
            self._refused()
        self.fail(CloseCause.CONNECTION_LOST, HandshakeError(f"lost during the opening handshake: {reason}"))
        assert self._over is not None and self._error is not None
        self._session._open_failed(self._over, self._error, self._called)


def _choice(answer: object) -> tuple[str | None, Sequence[tuple[str, str]]]:
    """What onConnect returned, as (subprotocol, headers)."""
    if answer is None or isinstance(answer, str):
        return answer, ()
    if isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[0], str | None):
        return answer[0], tuple(Headers(answer[1] or ()))
    raise Refused(500, "Internal Server Error", log=f"onConnect returned {answer!r}, not None, str or (str, headers)")


def _plain_response(response: Response) -> bytes:
    headers = [("Connection", "close"), ("Content-Length", str(len(response.body))), *response.headers]
    return encode_response(response.status, response.reason, headers, response.body)
