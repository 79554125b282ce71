"""What all connections of one factory share: options, the set of them, counters, the shutting-down state.

The flavours' factories add what their framework wants of a factory; nothing here does I/O.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from wsfactory import handshake, handshake_client
from wsfactory._codec import Encoder, MaskKeys
from wsfactory.errors import InvalidState, OptionError, Refused
from wsfactory.events import CloseCause, CloseInfo
from wsfactory.frames import close_payload
from wsfactory.headers import HeaderPairs
from wsfactory.http11 import Headers, Request, is_token
from wsfactory.options import Options, changed
from wsfactory.urls import parse_url

if TYPE_CHECKING:
    from wsfactory.flavour import Flavour, Future
    from wsfactory.opening import Connecting
    from wsfactory.session import Session

__all__ = ["Counters", "SharedFactory", "Shutdown"]

SessionT = TypeVar("SessionT", bound="Session")

_UNMASKED = Encoder(None)
_MASKED = Encoder(MaskKeys())
_SOMEWHERE = parse_url("ws://localhost/")


@dataclass(slots=True)
class Counters:
    """Plain integers, added up over the ended connections of a factory and the open ones.

    ``closed`` counts by (code, cause) of every connection that was open, ``failed`` by cause those that never were.
    """

    opened: int = 0
    closed: Counter[tuple[int, CloseCause]] = field(default_factory=Counter)
    failed: Counter[CloseCause] = field(default_factory=Counter)
    messagesReceived: int = 0
    bytesReceived: int = 0
    messagesSent: int = 0
    bytesSent: int = 0


class SharedFactory(Generic[SessionT]):
    """The part of a factory that no framework touches."""

    is_client = False
    flavour: Flavour
    details: Connecting
    protocol: Callable[[], SessionT] | None

    def __init__(
        self, *, subprotocols: Iterable[str] = (), headers: HeaderPairs = (), options: dict[str, object]
    ) -> None:
        self.options = changed(Options(), options)
        self.subprotocols = _names(subprotocols)
        self.headers = _headers(headers, self.is_client)
        self.encoder = _MASKED if self.is_client else _UNMASKED
        self.connections: set[SessionT] = set()
        self.openings: set[SessionT] = set()
        self.shuttingDown = False
        self._ended = Counters()
        self._leaving: set[SessionT] = set()
        self._shutdown: Shutdown | None = None

    def setProtocolOptions(self, **options: object) -> None:
        """Change *options* for connections made from now on; what is not named stays.

        Raises ``OptionError``, which names the option and says what is allowed; then nothing has changed.
        """
        self.options = changed(self.options, options)

    @property
    def counters(self) -> Counters:
        """What has happened so far: a snapshot."""
        ended = self._ended
        total = Counters(
            ended.opened,
            ended.closed.copy(),
            ended.failed.copy(),
            ended.messagesReceived,
            ended.bytesReceived,
            ended.messagesSent,
            ended.bytesSent,
        )
        for connection in self.connections:
            connection._ws_add_traffic(total)
        return total

    def shutdown(self, code: int = 1001, timeout: float | None = 20.0) -> Awaitable[list[SessionT]]:
        """Refuse new handshakes, close every connection with *code*, abort what is left after *timeout* seconds.

        It is for good: ``listen`` and ``connect`` raise ``InvalidState`` from now on.  Returns an awaitable of the
        protocols that had to be aborted; it is done when the last ``onClose`` is, or, once the rest is aborted, when
        TCP is gone.  A second call aborts all at once.  Raises ``ValueError`` for a code that may not be sent.
        """
        close_payload(code)
        self.shuttingDown = True
        if self._shutdown is None:
            self._shutdown = Shutdown(self, code, timeout)
        else:
            self._shutdown.hurry()
        return cast("Awaitable[list[SessionT]]", self._shutdown.wait())

    def _new_session(self) -> SessionT:
        """Return a protocol that belongs to this factory."""
        session = self._check_protocol()()
        session._ws_adopt(cast("SharedFactory[Session]", self))
        return session

    def _check_ready(self) -> None:
        """Raise ``InvalidState`` where this factory cannot make new connections."""
        self._check_protocol()
        if self.shuttingDown:
            raise InvalidState("the factory was shut down: listen and connect with a new one")

    def _check_protocol(self) -> Callable[[], SessionT]:
        if self.protocol is None:
            arguments = "url, MyProtocol" if self.is_client else "MyProtocol"
            call = f"{type(self).__name__}({arguments})"
            raise InvalidState(f"the factory has no protocol: {call}, or factory.protocol = MyProtocol")
        return self.protocol

    def _session_began(self, session: SessionT) -> None:
        self.openings.add(session)

    def _session_opened(self, session: SessionT) -> None:
        self.openings.discard(session)
        self.connections.add(session)
        self._ended.opened += 1
        if self._shutdown is not None:
            self._shutdown.close(session)

    def _session_lost(self, session: SessionT) -> None:
        """TCP is gone; the application may still be handling what had arrived."""
        if self._shutdown is not None:
            self._shutdown.lost(session)

    def _session_ended(self, session: SessionT, info: CloseInfo) -> None:
        """Nothing is left but to call onClose."""
        self._leaving.add(session)
        self.openings.discard(session)
        if session in self.connections:
            self.connections.discard(session)
            self._ended.closed[info.code, info.cause] += 1
            session._ws_add_traffic(self._ended)
        else:
            self._ended.failed[info.cause] += 1

    def _session_told(self, session: SessionT) -> None:
        """OnClose is done, or nobody had to be told."""
        self._leaving.discard(session)
        if self._shutdown is not None:
            self._shutdown.gone(session)


class Shutdown:
    """One shutting down of a factory, from the first Close to the last connection gone.

    It waits for those that are there when it begins: who comes later is refused, and may come all the time.
    """

    def __init__(self, factory: SharedFactory[Any], code: int, timeout: float | None) -> None:
        self._futures = factory.flavour.futures
        self._code = code
        self._left: set[Session] = {*factory.connections, *factory.openings, *factory._leaving}
        self._aborted: list[Session] = []
        self._waiting: list[Future] = []
        self._in_a_hurry = False
        self._deadline = None if timeout is None else factory.flavour.wheel.after(timeout, self.hurry)
        for session in [*self._left]:
            self.close(session)

    def close(self, session: Session) -> None:
        """Begin to close one connection."""
        session._ws_shut_down(self._code)

    def hurry(self) -> None:
        """Abort what is left; wait for the end of TCP only, no longer for the application."""
        if self._in_a_hurry:
            return
        self._in_a_hurry = True
        for session in [*self._left]:
            if session._ws_is_lost():
                self.gone(session)
            else:
                self._aborted.append(session)
            session._ws_cut_short()

    def lost(self, session: Session) -> None:
        """TCP is gone."""
        if self._in_a_hurry:
            self.gone(session)

    def gone(self, session: Session) -> None:
        """Nobody waits for this one any more."""
        self._left.discard(session)
        self._check()

    def wait(self) -> Future:
        """Return a future of the sessions that had to be aborted."""
        future = self._futures.create()
        self._waiting.append(future)
        self._check()
        return future

    def _check(self) -> None:
        if self._left:
            return
        if self._deadline is not None:
            self._deadline.cancel()
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            self._futures.resolve(future, [*self._aborted])


def _names(subprotocols: Iterable[str]) -> tuple[str, ...]:
    names = () if isinstance(subprotocols, str) else tuple(subprotocols)
    # RFC 6455 4.1: "non-empty strings with characters in the range U+0021 to U+007E not including separator characters
    # [...] and MUST all be unique strings"
    tokens = [name for name in names if isinstance(name, str) and is_token(name)]
    if isinstance(subprotocols, str) or len(set(tokens)) != len(names):
        raise OptionError(
            f"subprotocols={subprotocols!r} is not allowed: subprotocols takes a list of different tokens"
        )
    return names


def _headers(headers: HeaderPairs, is_client: bool) -> Headers:
    """Make a head of them once, so that a mistake is told to who made it, and not by each connection that fails."""
    try:
        given = Headers(headers)
        if is_client:
            handshake_client.ask(_SOMEWHERE, headers=given).encode()
        else:
            handshake.accept(handshake.Offer(Request("GET", "/"), key=""), headers=given)
    except (Refused, TypeError, ValueError, AttributeError) as error:
        raise OptionError(f"headers takes a mapping or (name, value) pairs that can be sent: {error}") from None
    return given
