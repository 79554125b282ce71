"""A peer that is told what to do: commands come in on the socket that is stdin, answers and events go out.

A peer subclasses ``Remote``: its ``do_...`` methods are the commands.  ``run_on_asyncio`` and ``run_on_twisted`` serve
it until the other end of the socket closes.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from control_line import MAX_LINE, Packed, from_line, packed, to_line, unpacked

__all__ = ["Refused", "Remote", "as_bytes", "run_on_asyncio", "run_on_twisted", "unpacked"]

CONTROL_FD = 0


class Refused(Exception):
    """The server answered with something other than 101."""

    def __init__(self, status: int, headers: Iterable[tuple[str, str]] = (), body: bytes = b"") -> None:
        super().__init__(status)
        self.answer = {"status": status, "headers": [list(header) for header in headers], "body": packed(body)}


class Remote:
    """What all peers have in common: numbered connections, commands, reports."""

    write: Callable[[bytes], object]

    def __init__(self) -> None:
        self.connections: dict[int, Any] = {}
        self._numbers = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()

    def keep(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine as an asyncio task."""
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def new_listener(self) -> int:
        """Return the number of a new listening socket."""
        return next(self._numbers)

    def opened(self, connection: object, subprotocol: str | None, listener: int | None = None) -> int:
        """Number a connection that is open now; one that was accepted is an event."""
        number = next(self._numbers)
        self.connections[number] = connection
        if listener is not None:
            self.report(number, "open", listener=listener, subprotocol=subprotocol)
        return number

    def message(self, connection: int, payload: str | bytes, frames: int | None = None) -> None:
        """Report one whole message, and in how many frames it came, if that is known."""
        self.report(connection, "message", payload=packed(payload), frames=frames)

    def report(self, connection: int, event: str, **fields: object) -> None:
        """Report what happened on a connection."""
        self.write(to_line({"event": event, "connection": connection, **fields}))

    async def obey(self, line: bytes) -> None:
        """Do what *line* says, and answer."""
        command = from_line(line)
        number = command.pop("id")
        try:
            result = await getattr(self, f"do_{command.pop('do')}")(**command)
        except Refused as refused:
            self.write(to_line({"answer": number, "refused": refused.answer}))
        except Exception as error:
            self.write(to_line({"answer": number, "error": f"{type(error).__name__}: {error}"}))
        else:
            self.write(to_line({"answer": number, "result": result}))


def as_bytes(payload: Packed) -> bytes:
    """Return a packed payload as bytes."""
    value = unpacked(payload)
    return value.encode() if isinstance(value, str) else value


def run_on_asyncio(make: Callable[[], Remote]) -> None:
    """Serve until the control line ends."""
    asyncio.run(_serve(make()))


async def _serve(remote: Remote) -> None:
    reader, writer = await asyncio.open_unix_connection(sock=socket.socket(fileno=CONTROL_FD), limit=MAX_LINE)
    remote.write = writer.write
    while line := await reader.readline():
        remote.keep(remote.obey(line))


def run_on_twisted(make: Callable[[], Remote]) -> None:
    """Serve until the control line ends."""
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred
    from twisted.internet.protocol import Factory, connectionDone
    from twisted.protocols.basic import LineOnlyReceiver
    from twisted.python.failure import Failure

    remote = make()

    class Line(LineOnlyReceiver):
        delimiter = b"\n"
        MAX_LENGTH = MAX_LINE

        def connectionMade(self) -> None:
            assert self.transport is not None
            remote.write = self.transport.write

        def lineReceived(self, line: bytes) -> None:
            Deferred.fromCoroutine(remote.obey(line))

        def connectionLost(self, reason: Failure = connectionDone) -> None:
            reactor.stop()

    adopt = reactor.adoptStreamConnection  # type: ignore[attr-defined]  # any reactor that has file descriptors
    adopt(CONTROL_FD, socket.AF_UNIX, Factory.forProtocol(Line))
    reactor.run()
