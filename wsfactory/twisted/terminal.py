"""The client for the terminal: one connection, talked over in one of three ways, ends in an exit status.

``Asked`` goes in, 0 or 1 comes out of ``run``; what is said on the way is on the ``Screen``.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import cast

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from wsfactory.errors import ConnectionClosed, HandshakeError, InvalidPayload
from wsfactory.events import CloseCause, CloseInfo
from wsfactory.frames import CloseCode
from wsfactory.http11 import Headers
from wsfactory.tls import TLS
from wsfactory.twisted.client import ClientFactory, ClientProtocol, connect
from wsfactory.twisted.screen import Screen
from wsfactory.twisted.service_options import IReactor, the_reactor
from wsfactory.twisted.typed_lines import TypedLines

__all__ = ["Asked", "Call", "run"]

STDIN = 0
READ_BYTES = 64 * 1024
PING_EVERY_SECONDS = 0.2
PONG_WITHIN_SECONDS = 10.0
# After the last piped line: close once nothing has come for this long, and in any case after that long.
SILENCE_SECONDS = 1.0
PATIENCE_SECONDS = 10.0
SHOWN_BODY_CHARS = 500

# How a conversation ends when all is well.
_WISHED = (CloseCause.LOCAL_CLOSE, CloseCause.REMOTE_CLOSE)
_WELL = (CloseCode.NORMAL, CloseCode.NO_STATUS)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks for; with neither *message* nor *pings*, lines are talked over.

    *piped* lines do not come from somebody who sees the answers, and knows when to close.
    """

    url: str
    message: str | None = None
    pings: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    subprotocols: tuple[str, ...] = ()
    insecure: bool = False
    piped: bool = False


class Talk(ClientProtocol):
    """What the three ways have in common; each begins, and has its own complaint when it is over."""

    @property
    def call(self) -> Call:
        """What this belongs to."""
        return cast("TalkFactory", self.factory).call

    def onOpen(self) -> None:
        """Begin."""
        self.call.opened(self)
        self.begin()

    def begin(self) -> None:
        """Do what was asked for."""
        raise NotImplementedError

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:
        """End, if it has begun; an attempt that failed is ``connect``'s to tell."""
        if self.call.session is self and self.closeInfo is not None:
            self.call.end(self.complaint(self.closeInfo), farewell(self.closeInfo))

    def complaint(self, info: CloseInfo) -> str | None:
        """Return what was wrong with this end, None if it was as it should be."""
        well = info.wasClean and info.cause in _WISHED and info.code in _WELL
        return None if well else farewell(info)

    def interrupt(self) -> None:
        """Somebody pressed Ctrl-C."""
        self.sendClose()

    def show(self, step: Callable[[], object]) -> None:
        """Write to stdout; when nobody reads that any more, end."""
        try:
            step()
        except OSError as error:
            self.call.screen.give_up_output()
            self.call.complain(f"cannot write to stdout: {error.strerror}")
            self.dropConnection(abort=True)


class Lines(Talk):
    """Lines typed go out as text, messages are shown; the end of what is typed closes."""

    _sent = 0
    _closing: IDelayedCall | None = None

    def begin(self) -> None:
        """Begin to read what is typed."""
        agreed = f", subprotocol {self.subprotocol}" if self.subprotocol else ""
        self.call.screen.remark(f"Connected to {self.call.asked.url}{agreed}. Lines you type are sent; Ctrl-D closes.")
        self._lines = self.call.typed_lines(self)
        self._lines.start()

    def typed(self, lines: list[bytes]) -> None:
        """Send *lines*, then wait until there is room for more."""
        try:
            for line in lines:
                self._say(line)
        except ConnectionClosed:
            return
        # It fails once closing has begun, and then there is no use in more lines.
        cast("Deferred[object]", self.drain()).addCallbacks(lambda _: self._lines.more(), lambda _: None)

    def _say(self, line: bytes) -> None:
        try:
            self.sendMessage(line)
            self._sent += 1
        except InvalidPayload:
            self.call.complain("a line that is not UTF-8 was not sent")

    def typed_all(self) -> None:
        """Close, behind everything that was typed; but let a server that takes its time answer what was piped."""
        if self.call.asked.piped and self._sent:
            self._patience_ends = self.call.now() + PATIENCE_SECONDS
            self._close_later()
        else:
            self.sendClose()

    def _close_later(self) -> None:
        patience = max(0.0, self._patience_ends - self.call.now())
        self._closing = self.call.reactor.callLater(min(SILENCE_SECONDS, patience), self.sendClose)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Show it."""
        self.show(partial(self.call.screen.message, payload, isBinary))
        if self._closing is not None and self._closing.active():
            self._closing.cancel()
            self._close_later()

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:
        """It no longer needs to be closed."""
        if self._closing is not None and self._closing.active():
            self._closing.cancel()
        super().onClose(wasClean, code, reason)


class Question(Talk):
    """Sends one message, shows the answer, closes."""

    answered = False

    def begin(self) -> None:
        """Ask."""
        self.sendMessage(self.call.asked.message or "")

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Show the first one."""
        if not self.answered:
            self.answered = True
            self.show(partial(self.call.screen.message, payload, isBinary))
            self.sendClose()

    def complaint(self, info: CloseInfo) -> str | None:
        """Complain if there was no answer."""
        return None if self.answered else f"no answer: {farewell(info)}"


class Pings(Talk):
    """Sends Pings one after the other, shows how long each takes, closes."""

    def begin(self) -> None:
        """Send the first."""
        self._sent = 0
        self._seconds: list[float] = []
        self._send()

    def _send(self) -> None:
        if not self.isOpen:
            return
        call = self.call
        self._sent += 1
        # Not to be guessed, so that a Pong which nobody asked for is told from ours.
        self._payload = os.urandom(8)
        self._sent_at = call.now()
        self._next = call.reactor.callLater(PONG_WITHIN_SECONDS, self._give_up)
        self.sendPing(self._payload)

    def onPong(self, payload: bytes) -> None:
        """Show how long it took."""
        if payload != self._payload:
            return
        self._payload = b""
        self._seconds.append(self.call.now() - self._sent_at)
        self._next.cancel()
        self.show(partial(self.call.screen.result, f"pong {self._sent}: {self._seconds[-1] * 1000:.3f} ms"))
        if self._sent < self.call.asked.pings:
            self._next = self.call.reactor.callLater(PING_EVERY_SECONDS, self._send)
        else:
            self.interrupt()

    def _give_up(self) -> None:
        self.call.complain(f"no Pong within {PONG_WITHIN_SECONDS:g} s")
        self.dropConnection(abort=True)

    def interrupt(self) -> None:
        """Sum up, and close."""
        if self._seconds:
            times = "/".join(f"{t * 1000:.3f}" for t in (min(self._seconds), self._mean(), max(self._seconds)))
            text = f"{self._sent} pings, {len(self._seconds)} pongs, min/avg/max {times} ms"
            self.show(partial(self.call.screen.result, text))
        super().interrupt()

    def _mean(self) -> float:
        return sum(self._seconds) / len(self._seconds)

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:
        """End the wait."""
        if self.call.session is self and self._next.active():
            self._next.cancel()
        super().onClose(wasClean, code, reason)

    def complaint(self, info: CloseInfo) -> str | None:
        """Complain if it ended before the last Pong, unless that was our own wish."""
        return None if len(self._seconds) == self.call.asked.pings else super().complaint(info)


class TalkFactory(ClientFactory):
    """Makes the ``Talk`` of a ``Call``."""

    call: Call


class Call:
    """One use of the client, from dialling to the exit status; ``over`` fires with that.

    Raises ``OptionError`` where what is asked for can never be sent.
    """

    def __init__(self, asked: Asked, screen: Screen, reactor: IReactor) -> None:
        self.asked = asked
        self.screen = screen
        self.reactor = reactor
        self.now = time.monotonic
        self.session: Talk | None = None
        self.over: Deferred[int] = Deferred()
        self._attempt: Deferred[ClientProtocol] | None = None
        self._interrupted = False
        self._failed = False
        self.factory = self._make_factory()

    def dial(self) -> None:
        """Connect; whatever goes wrong ends it, since the reactor would only log it and run on."""
        self._attempt = maybeDeferred(connect, self.asked.url, self.factory)
        self._attempt.addErrback(self._refused)

    def _make_factory(self) -> TalkFactory:
        asked = self.asked
        factory = TalkFactory(
            asked.url,
            Question if asked.message is not None else Pings if asked.pings else Lines,
            subprotocols=asked.subprotocols,
            headers=asked.headers,
            tls=TLS(verify=False) if asked.insecure else None,
            reactor=self.reactor,
        )
        factory.call = self
        return factory

    def opened(self, session: Talk) -> None:
        """It is open."""
        self.session = session

    def typed_lines(self, typist: Lines) -> TypedLines:
        """Return what is typed on stdin."""
        return TypedLines(partial(os.read, STDIN, READ_BYTES), self.reactor.callFromThread, typist)

    def interrupt(self) -> None:
        """Ctrl-C was pressed: close; the second time, abort."""
        # The terminal has written ^C, without an end of line.
        self.screen.remark("")
        if self.session is None:
            self._interrupted = True
            if self._attempt is not None:
                self._attempt.cancel()
        elif self._interrupted:
            self.session.dropConnection(abort=True)
        else:
            self._interrupted = True
            self.session.interrupt()

    def _refused(self, failure: Failure) -> None:
        self.end("interrupted" if self._interrupted else refusal(failure.value))

    def complain(self, text: str) -> None:
        """Say what went wrong; the status will be 1."""
        self.screen.complain(text)
        self._failed = True

    def end(self, complaint: str | None, farewell: str = "") -> None:
        """It is over: with a *complaint* it has failed, unless it had before."""
        if complaint is None:
            self.screen.remark(farewell[:1].upper() + farewell[1:] + ".")
        elif not self._failed:
            self.complain(complaint)
        self.over.callback(int(self._failed))


def run(asked: Asked, screen: Screen) -> int:
    """Do what is *asked*; returns the exit status.  Raises ``OptionError`` before anything has begun."""
    reactor = the_reactor()
    call = Call(asked, screen, reactor)
    statuses: list[int] = []
    call.over.addCallback(statuses.append).addCallback(lambda _: reactor.stop())
    # Where Ctrl-C has been turned off (nohup, a shell's background) it stays so.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: reactor.callFromThread(call.interrupt))
    reactor.callWhenRunning(call.dial)
    reactor.run(installSignalHandlers=False)  # type: ignore[call-arg]
    return statuses[0] if statuses else 1


def refusal(error: BaseException | None) -> str:
    """Return why no connection came about."""
    if isinstance(error, HandshakeError) and error.status:
        body = _text_of(error)
        return f"refused: {error}" + (f": {body}" if body not in ("", error.reason) else "")
    if isinstance(error, CancelledError):
        return "interrupted"
    return str(error) or type(error).__name__


def _text_of(error: HandshakeError) -> str:
    """Return the beginning of a refusal's body, if that is meant to be read by people as it is."""
    if "html" in (Headers(error.headers).get("Content-Type") or ""):
        return ""
    text: str = error.body.decode("utf-8", "replace").strip()
    return text if len(text) <= SHOWN_BODY_CHARS else text[:SHOWN_BODY_CHARS] + "..."


def farewell(info: CloseInfo) -> str:
    """Return in words how a connection ended."""
    # Both may have begun to close at the same time: the server's code is what we do not know yet.
    if info.wasClean and info.cause in _WISHED:
        ours = info.cause is CloseCause.LOCAL_CLOSE and info.code in _WELL
        return "closed" if ours else "the server closed the connection" + _code(info.remoteCode, info.remoteReason)
    reason = f": {info.reason}" if info.reason else ""
    return info.cause.value + reason + _code(info.localCode, info.localReason)


def _code(code: int | None, reason: str) -> str:
    if code is None:
        return ""
    known = CloseCode(code).name.lower().replace("_", " ") if code in set(CloseCode) else ""
    return f" with {code}" + (f" ({known})" if known else "") + (f": {reason}" if reason else "")
