"""The coroutine API: a connection that is awaited instead of called back.

``Stream`` is a session whose application is ``recv``: a message counts in the bounded inbox until ``recv`` takes it, so
that a slow reader holds its peer back as a slow ``onMessage`` does.  It awaits the futures of the framework it runs on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Self, cast

from wsfactory.callbacks import at_once, call
from wsfactory.connection import State
from wsfactory.conversation import Conversation
from wsfactory.errors import ConnectionClosed, InvalidState
from wsfactory.session import Payload, Session

if TYPE_CHECKING:
    from wsfactory.events import CloseInfo
    from wsfactory.factory import SharedFactory
    from wsfactory.flavour import Future, Transport

__all__ = ["STREAM_SLOTS", "Stream"]

STREAM_SLOTS = ("_ws_arrival", "_ws_gone", "_ws_next", "_ws_service", "_ws_taken")


class Stream(Session):
    """A connection for coroutines; ``async for message in ws`` ends when the connection closes."""

    # Mixed with a flavour's protocol: the class made of both has STREAM_SLOTS, two layouts cannot be mixed.
    if not TYPE_CHECKING:
        __slots__ = ()

    _ws_arrival: Future | None
    _ws_gone: list[Future]
    _ws_next: tuple[bytes, bool] | None
    _ws_service: Service | None
    _ws_taken: Callable[[], None] | None

    def _ws_adopt(self, factory: SharedFactory[Session]) -> None:
        super()._ws_adopt(factory)
        self._ws_next = self._ws_taken = self._ws_arrival = self._ws_service = None
        self._ws_gone = []

    async def recv(self) -> str | bytes:
        """Return the next message, text as str, binary as bytes.

        Raises ``ConnectionClosed`` (with ``closeInfo``) once the connection is closing and what had arrived was taken;
        replies to what came before the peer's Close may be sent until then, for half of ``closeHandshakeTimeout``.
        Cancelling it loses no message.  One at a time: a second one waiting raises ``InvalidState``.
        """
        while self._ws_next is None:
            await self._ws_wait_for_arrival()
        payload, is_binary = self._ws_take(self._ws_next)
        return payload if is_binary else str(payload, "utf-8")

    async def _ws_wait_for_arrival(self) -> None:
        futures = self._ws_flavour.futures
        if self._ws_conversation is not None:
            # Whoever comes back for more has replied to the last message.
            self._ws_conversation.connection.answer()
        if not self.isOpen:
            raise self._ws_not_open()
        if self._ws_arrival is not None and not futures.has_ended(self._ws_arrival):
            raise InvalidState("another coroutine waits in recv() of this connection")
        arrival = self._ws_arrival = futures.create()
        try:
            await cast("Awaitable[None]", arrival)
        finally:
            # One that was cancelled may find that another has begun to wait meanwhile.
            if self._ws_arrival is arrival:
                self._ws_arrival = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str | bytes:
        try:
            return await self.recv()
        except ConnectionClosed:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def send(self, message: Payload | str) -> None:
        """Send one message, str as text, bytes as binary; waits while the send buffer is above its mark.

        Raises ``ConnectionClosed`` once closing has begun.
        """
        self.sendMessage(message, isBinary=not isinstance(message, str))
        if self._ws_conversation is not None and self._ws_conversation.outbox.over:
            await self.drain()

    async def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Close, and wait until the connection is gone; messages that were not taken are dropped.

        Nothing but the wait happens once closing has begun.  Raises ``ValueError`` for a code that may not be sent.
        """
        if self._ws_conversation is None:
            self.dropConnection()
        else:
            self.sendClose(code, reason)
            self._ws_drop_messages()
        await self.wait_closed()

    async def wait_closed(self) -> None:
        """Wait until the connection is gone; ``closeInfo`` then says how, and ``recv`` still gives what had arrived."""
        if self._ws_conversation is not None:
            self._ws_conversation.connection.answer()
        if self.closeInfo is None:
            gone = self._ws_flavour.futures.create()
            self._ws_gone.append(gone)
            await cast("Awaitable[None]", gone)

    # Messages wait until they are taken.

    def _ws_converse(self, wire: Transport) -> Conversation:
        return StreamConversation(self, wire)

    def _ws_arrived(self, message: tuple[bytes, bool], taken: Callable[[], None]) -> None:
        """A message waits; *taken* says that it does no longer."""
        self._ws_next = message
        self._ws_taken = taken
        self._ws_wake()

    def _ws_take(self, message: tuple[bytes, bool]) -> tuple[bytes, bool]:
        taken, self._ws_taken, self._ws_next = self._ws_taken, None, None
        if taken is not None:
            taken()
        return message

    def _ws_drop_messages(self) -> None:
        if self._ws_conversation is not None:
            self._ws_conversation.inbox.discard()
        if self._ws_next is not None:
            self._ws_take(self._ws_next)

    def _ws_wake(self) -> None:
        if self._ws_arrival is not None:
            self._ws_flavour.futures.resolve(self._ws_arrival)

    # The end.

    def _ws_is_gone(self, info: CloseInfo) -> None:
        """TCP is gone; what had arrived may still be waiting."""
        self.closeInfo = info
        self._ws_wake()
        gone, self._ws_gone = self._ws_gone, []
        for future in gone:
            self._ws_flavour.futures.resolve(future)

    def _ws_ended(self, info: CloseInfo, tell: bool, when: Callable[[Callable[[], object]], object] = at_once) -> None:
        super()._ws_ended(info, tell, when)
        self._ws_is_gone(info)

    def onClose(self, wasClean: bool, code: int, reason: str) -> object:
        """Everything is over once the handler is, where there is one."""
        return self._ws_service.end() if self._ws_service is not None else None

    # A server's side: one coroutine serves the connection.

    def _ws_serve(self, handler: Callable[[Self], Awaitable[object]]) -> None:
        """Run *handler* with this connection, which closes with it: 1000 when it returns, 1011 when it raises."""
        self._ws_service = Service(self)
        self._ws_service.run(partial(handler, self))

    def _ws_cut_short(self) -> None:
        super()._ws_cut_short()
        if self._ws_service is not None:
            self._ws_service.cut_short()


class Service:
    """One handler at work on one connection."""

    __slots__ = ("_cut", "_end", "_over", "_stream", "_work")

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._work: Future | None = None
        self._end: Future | None = None
        self._over = self._cut = False

    def run(self, handler: Callable[[], Awaitable[object]]) -> None:
        """Begin."""
        flavour = self._stream._ws_flavour
        self._work = call(flavour, handler, done=self._done, failed=self._failed)

    def end(self) -> Future | None:
        """Return a future that is done once the handler is; None: it is."""
        if not self._over:
            self._end = self._stream._ws_flavour.futures.create()
        return self._end

    def cut_short(self) -> None:
        """Cancel it; it has been asked before, by the end of its connection."""
        self._cut = True
        if not self._over and self._work is not None:
            self._stream._ws_flavour.futures.cancel(self._work)

    def _done(self, _: object) -> None:
        if self._stream.isOpen:
            self._stream.sendClose()
        self._finish()

    def _failed(self, error: BaseException) -> None:
        if not self._cut and self._stream._ws_conversation is not None:
            self._stream._ws_conversation.application_failed("the handler", error)
        self._finish()

    def _finish(self) -> None:
        self._over = True
        self._stream._ws_service = None
        self._stream._ws_drop_messages()
        if self._end is not None:
            self._stream._ws_flavour.futures.resolve(self._end)


class StreamConversation(Conversation):
    """An open connection whose application is ``recv``."""

    __slots__ = ("_stream",)

    def __init__(self, stream: Stream, wire: Transport) -> None:
        self._stream = stream
        super().__init__(stream, wire)

    def handle(self, payload: bytes, is_binary: bool) -> Future | None:
        """Take a message; the inbox passes it on to ``watch``, as what is waited for."""
        return payload, is_binary

    def watch(self, future: Future, done: Callable[[], None]) -> None:
        """Call *done* once ``recv`` has taken it."""
        self._stream._ws_arrived(cast("tuple[bytes, bool]", future), done)

    def inbox_empty(self) -> None:
        """Everything was taken; a reply to it may come until ``recv`` is called again."""
        if self.connection.state is not State.PEER_CLOSED:
            super().inbox_empty()

    def closing(self) -> None:
        """Nobody need wait for a message that will not come."""
        super().closing()
        self.later(self._stream._ws_wake)

    def lost(self, reason: str) -> None:
        """TCP is gone: whoever waited for that goes on, whether everything was taken or not."""
        super().lost(reason)
        self._stream._ws_is_gone(self._stream.closeInfo or self.connection.close_info)
