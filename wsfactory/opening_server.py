"""The opening handshake of a server's session: a request is read, judged, shown to the application, answered.

``handshake.py`` knows what the heads must say (RFC 6455 section 4.2); this knows when.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from wsfactory import handshake
from wsfactory.errors import HandshakeError, MalformedHead, Refused
from wsfactory.events import CloseCause
from wsfactory.http11 import Headers, HeadReader, Request, Response, phrase, request_reader
from wsfactory.opening import DROPPED, Opening, kind_of

if TYPE_CHECKING:
    from wsfactory.session import ServerSession

__all__ = ["ServerOpening"]

RETRY_AFTER_SECONDS: Final = "5"


class ServerOpening(Opening):
    """The server's side: a request is read, judged, shown to the application, answered."""

    __slots__ = ("_method", "_reader", "_session", "_silent")

    def __init__(self, session: ServerSession) -> None:
        self._session: ServerSession = session
        self._silent = True
        self._method = "GET"
        self._reader: HeadReader[Request] | None = request_reader()
        super().__init__()

    def receive(self, data: bytes) -> None:
        """Take bytes from the wire; once it is over they are discarded."""
        if self._over is not None:
            return
        self._silent = False
        if self._reader is None:
            self._keep(data)
            return
        try:
            request = self._reader.feed(data)
        except MalformedHead as error:
            self._refuse(error)
            return
        if request is not None:
            self.take(replace(request, peer=self._session._ws_peer()), self._reader.rest)

    def take(self, request: Request, rest: bytes = b"") -> None:
        """Go on with *request*, however it was parsed, and the bytes that came behind it."""
        self._reader = None
        self._method = request.method
        self._keep(rest)
        if self._session.factory.shuttingDown:
            self._refuse(_shutting_down())
        elif handshake.is_upgrade(request):
            self._consider(request)
        else:
            self._ask(
                self._session.processRequest,
                request,
                then=partial(self._answer_plainly, request),
                failed=partial(self._raised, "processRequest"),
            )

    def _consider(self, request: Request) -> None:
        try:
            offer = handshake.read_offer(request, allowed_origins=self._session._ws_options.allowedOrigins)
        except Refused as error:
            self._refuse(error)
            return
        self._called = True
        self._ask(
            self._session.onConnect,
            request,
            then=partial(self._accept, offer),
            failed=partial(self._raised, "onConnect"),
        )

    def _accept(self, offer: handshake.Offer, answer: object) -> None:
        factory = self._session.factory
        if factory.shuttingDown:
            self._refuse(_shutting_down())
            return
        try:
            subprotocol, headers = _choice(answer)
            if subprotocol is None:
                subprotocol = handshake.choose_subprotocol(offer, factory.subprotocols)
            head = handshake.accept(offer, subprotocol, [*factory.headers, *headers])
        except Refused as error:
            self._refuse(error, is_our_fault=True)
            return
        self._wire.write([head])
        self._opens(subprotocol)

    def _answer_plainly(self, request: Request, answer: object) -> None:
        if answer is None:
            self._refuse(handshake.not_an_upgrade(request))
        elif isinstance(answer, Response):
            self._refuse(Refused(answer.status, answer.reason, answer.headers, answer.body, log="not an upgrade"))
        else:
            fault = f"processRequest returned {kind_of(answer)}, not None or a Response"
            self._refuse(handshake.internal_error(fault), is_our_fault=True)

    def _raised(self, name: str, error: BaseException) -> None:
        if isinstance(error, Refused):
            self._refuse(error)
        else:
            self._session._ws_log_failure(name, error)
            self._refuse(handshake.internal_error(f"{name} raised"))

    def _refuse(
        self, error: Refused, cause: CloseCause = CloseCause.HANDSHAKE_REFUSED, is_our_fault: bool = False
    ) -> None:
        answer = handshake.sendable(error)
        if not self._ends(cause, str(answer)):
            return
        self._log(answer, is_our_fault or answer is not error)
        self._wire.write([handshake.refusal(answer, self._method)])
        self._cancel_pending()
        self._end_tcp()

    def _log(self, answer: Refused, is_our_fault: bool) -> None:
        log = self._session._ws_flavour.log
        text = "{verb} {peer} with {status}: {why}"
        verb = "refused" if answer.status >= 400 else "answered"
        peer = self._session._ws_peer()
        (log.error if is_our_fault else log.info)(text, verb=verb, peer=peer, status=answer.status, why=str(answer))

    def _timed_out(self) -> None:
        # RFC 9110 15.5.9: "did not receive a complete request message within the time that it was prepared to wait"
        status = 408 if self._reader is not None else 503
        late = Refused(status, phrase(status), log="the opening handshake took too long")
        self._refuse(late, CloseCause.OPEN_TIMEOUT)

    def shut_down(self) -> None:
        """The factory shuts down: whoever has not sent a request yet need not; what is being asked is refused later."""
        if self._silent:
            # Browsers hold such connections ready, and would not even notice an answer.
            self._ends(CloseCause.SHUTDOWN, "the factory is shutting down")
            self._wire.abort()
        elif self._reader is not None:
            self._refuse(_shutting_down())

    def drop(self) -> None:
        """The application ends it, without an answer; it is called back, and what it is asked cancelled, later."""
        self._ends(CloseCause.DROPPED, DROPPED)
        self._wire.abort()

    def eof(self) -> None:
        """The peer left."""
        if self._ends(CloseCause.CONNECTION_LOST, "the client left during the opening handshake"):
            self._cancel_pending()
            self._end_tcp()

    def lost(self, reason: str) -> None:
        """TCP is gone."""
        self._ends(CloseCause.CONNECTION_LOST, reason)
        self._stop()
        self._cancel_pending()
        assert self._over is not None
        self._session._ws_open_failed(self._over, HandshakeError(self._over.reason), self._called)


def _choice(answer: object) -> tuple[str | None, Sequence[tuple[str, str]]]:
    """What onConnect returned, as (subprotocol, headers)."""
    if answer is None or isinstance(answer, str):
        return answer, ()
    if isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[0], str | None):
        try:
            return answer[0], tuple(Headers(answer[1] or ()))
        except (TypeError, ValueError, AttributeError):
            pass
    raise handshake.internal_error(
        f"onConnect returned {kind_of(answer)}, not None, a subprotocol or (subprotocol, headers)"
    )


def _shutting_down() -> Refused:
    return Refused(503, phrase(503), {"Retry-After": RETRY_AFTER_SECONDS}, log="the factory is shutting down")
