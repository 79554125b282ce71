"""The coroutine API: a connection that is awaited instead of called back.

``Stream`` is a session whose application is ``recv``: a message counts in the bounded inbox until ``recv`` takes it, so a
slow reader holds its peer back exactly as a slow ``onMessage`` does.  It awaits the futures of the framework it runs on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Self, cast

from wsfactory.callbacks import call
from wsfactory.conversation import Conversation
from wsfactory.errors import ConnectionClosed, InvalidState
from wsfactory.session import Payload, Session

if TYPE_CHECKING:
    from wsfactory.factory import SharedFactory
    from wsfactory.flavour import Future, Transport

__all__ = ["STREAM_SLOTS", "Stream", "StreamHandler"]

STREAM_SLOTS = ("_arrival", "_gone", "_next", "_serving", "_taken")

StreamHandler = Callable[["Stream"], Awaitable[object]]

_UNTAKEN = "a message that recv has yet to take"


class Stream(Session):
    """A connection for coroutines; ``async for message in ws`` ends when the connection closes."""

    # Mixed with a flavour's protocol: the class made of both has STREAM_SLOTS, two layouts cannot be mixed.
    if not TYPE_CHECKING:
        __slots__ = ()

    _arrival: Future | None
    _gone: list[Future]
    _next: tuple[bytes, bool] | None
    _serving: Future | None
    _taken: Callable[[], None] | None

    def _adopt(self, factory: SharedFactory[Session]) -> None:
        super()._adopt(factory)
        self._next = self._taken = self._arrival = self._serving = None
        self._gone = []

    async def recv(self) -> str | bytes:
        """Return the next message, text as str, binary as bytes.

        Raises ``ConnectionClosed`` (with ``closeInfo``) once the connection is closing and what had arrived was taken.
        Cancelling it loses no message.  One at a time: a second one waiting raises ``InvalidState``.
        """
        futures = self._flavour.futures
        if self._arrival is not None and not futures.has_ended(self._arrival):
            raise InvalidState("another coroutine waits in recv() of this connection")
        while self._next is None:
            if not self.isOpen:
                raise self._not_open()
            arrival = self._arrival = futures.create()
            try:
                await cast("Awaitable[None]", arrival)
            finally:
                if self._arrival is arrival:
                    self._arrival = None
        payload, is_binary = self._take(self._next)
        return payload if is_binary else str(payload, "utf-8")

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str | bytes:
        try:
            return await self.recv()
        except ConnectionClosed:
            raise StopAsyncIteration from None

    async def send(self, message: Payload | str) -> None:
        """Send one message, str as text, bytes as binary; waits while the send buffer is above its mark.

        Raises ``ConnectionClosed`` once closing has begun.
        """
        self.sendMessage(message, isBinary=not isinstance(message, str))
        if self._conversation is not None and self._conversation.outbox.over:
            await self.drain()

    async def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Close, and wait until the connection is gone; messages that were not taken are dropped.

        Raises ``ValueError`` for a code that may not be sent.
        """
        if self._conversation is not None:
            self.sendClose(code, reason)
            self._drop_messages()
        await self.wait_closed()

    async def wait_closed(self) -> None:
        """Wait until the connection is gone, and what had arrived was taken."""
        if self.closeInfo is None:
            gone = self._flavour.futures.create()
            self._gone.append(gone)
            await cast("Awaitable[None]", gone)

    # Messages wait until they are taken.

    def _converse(self, wire: Transport) -> Conversation:
        return StreamConversation(self, wire)

    def _arrived(self, payload: bytes, is_binary: bool, taken: Callable[[], None]) -> None:
        """A message waits; *taken* says that it does no longer."""
        self._next = payload, is_binary
        self._taken = taken
        self._wake()

    def _take(self, message: tuple[bytes, bool]) -> tuple[bytes, bool]:
        taken, self._taken, self._next = self._taken, None, None
        if taken is not None:
            taken()
        return message

    def _drop_messages(self) -> None:
        if self._conversation is not None:
            self._conversation.inbox.discard()
        if self._next is not None:
            self._take(self._next)

    def _wake(self) -> None:
        if self._arrival is not None:
            self._flavour.futures.resolve(self._arrival)

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:
        self._wake()
        gone, self._gone = self._gone, []
        for future in gone:
            self._flavour.futures.resolve(future)

    # A server's side: one coroutine serves the connection.

    def _serve(self, handler: StreamHandler) -> None:
        """Run *handler*; the connection closes with it: 1000 when it returns, 1011 when it raises."""
        self._serving = call(
            self._flavour.futures, handler, self, done=lambda _: self._served(), failed=self._serving_failed
        )

    def _served(self) -> None:
        self._serving = None
        if self.isOpen:
            self.sendClose()
        self._drop_messages()

    def _serving_failed(self, error: BaseException) -> None:
        self._serving = None
        if self._conversation is not None:
            self._conversation._application_failed("the handler", error)
        self._drop_messages()

    def _cut_short(self) -> None:
        super()._cut_short()
        if self._serving is not None:
            self._flavour.futures.cancel(self._serving)


class StreamConversation(Conversation):
    """An open connection whose application is ``recv``."""

    __slots__ = ("_message", "_stream")

    def __init__(self, stream: Stream, wire: Transport) -> None:
        self._stream = stream
        self._message = b"", False
        super().__init__(stream, wire)

    def handle(self, payload: bytes, is_binary: bool) -> Future | None:
        self._message = payload, is_binary
        return _UNTAKEN

    def watch(self, future: Future, done: Callable[[], None]) -> None:
        self._stream._arrived(*self._message, done)

    def closing(self) -> None:
        super().closing()
        self.later(self._stream._wake)

    def lost(self, reason: str) -> None:
        super().lost(reason)
        self._stream._wake()

    def inbox_empty(self) -> None:
        # While somebody serves it the connection counts as there: what ends last is the handler.
        if self._stream._serving is None:
            super().inbox_empty()
