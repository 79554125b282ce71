"""Peers in processes of their own, as a test sees them: started once, told what to do, listened to, ended.

``PEERS`` is the table of implementations.  A ``PeerProcess`` is one of them running; a ``PeerConnection`` one of its
WebSocket connections, whichever side made it.
"""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from control_line import MAX_LINE, from_line, packed, to_line, unpacked
from twisted.internet.defer import Deferred, DeferredQueue
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

__all__ = ["PEERS", "Peer", "PeerConnection", "PeerFailed", "PeerListening", "PeerProcess", "PeerRefused"]

HERE = Path(__file__).parent
END_SECONDS = 10.0


@dataclass(frozen=True)
class Peer:
    """One implementation: what it needs to be installed, and what its own interface cannot do or does not tell."""

    name: str
    needs: tuple[str, ...]
    lacks: frozenset[str] = frozenset()

    def missing(self) -> str | None:
        """Return which module is not installed."""
        return next((module for module in self.needs if not _is_installed(module)), None)


PEERS = {
    peer.name: peer
    for peer in (
        Peer("websockets", ("websockets.asyncio.server",)),
        Peer("aiohttp", ("aiohttp",), frozenset({"sending fragments", "a refusal's body"})),
        Peer("autobahn", ("autobahn",), frozenset({"reading 1014", "a refusal's body", "a refusal's headers"})),
        Peer(
            "twisted_web",
            ("twisted.web.websocket", "wsproto"),
            frozenset({"sending fragments", "sending None", "headers", "telling a failed handshake", "ending TLS"}),
        ),
    )
}


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


class PeerFailed(Exception):
    """The peer could not do what it was told; the text is its own error."""


class PeerRefused(Exception):
    """The peer, a client, was answered with something other than 101."""

    def __init__(self, status: int, headers: Iterable[Iterable[str]], body: dict[str, str]) -> None:
        super().__init__(status)
        self.status = status
        self.headers = {name.lower(): value for name, value in headers}
        self.body = unpacked(body)


class PeerConnection:
    """A connection of a peer's."""

    def __init__(self, process: PeerProcess, number: int) -> None:
        self._process = process
        self._number = number
        self._events: DeferredQueue[dict[str, Any]] = DeferredQueue()
        self.subprotocol: str | None = None

    def happened(self, event: dict[str, Any]) -> None:
        """Take an event that the peer reported."""
        self._events.put(event)

    async def expect(self, kind: str) -> dict[str, Any]:
        """Return the next event, which must be of this *kind*."""
        event = await self._events.get()
        assert event["event"] == kind, event
        return event

    async def message(self) -> str | bytes:
        """Return the next message that arrived."""
        return unpacked((await self.expect("message"))["payload"])

    async def send(self, payload: str | bytes) -> None:
        """Send one message."""
        await self._ask("send", payload=packed(payload))

    async def send_fragments(self, payloads: Iterable[str | bytes], ping: str) -> None:
        """Send one message in fragments, with a Ping behind the first."""
        await self._ask("fragments", payloads=[packed(payload) for payload in payloads], ping=packed(ping))

    async def ping(self, payload: str) -> None:
        """Send a Ping; its Pong will be an event."""
        await self._ask("ping", payload=packed(payload))

    async def close(self, code: int | None, reason: str = "") -> None:
        """Begin the closing handshake."""
        await self._ask("close", code=code, reason=reason)

    async def vanish(self) -> None:
        """End TCP without a Close frame."""
        await self._ask("vanish")

    async def _ask(self, do: str, **arguments: object) -> None:
        await self._process.ask(do, connection=self._number, **arguments)


@dataclass
class PeerListening:
    """A server of a peer's: where it is, and the connections that opened there."""

    url: str
    opens: DeferredQueue[PeerConnection]


class PeerProcess:
    """One peer in its own process."""

    def __init__(self, peer: Peer, log: Path) -> None:
        self.peer = peer
        self._numbers = itertools.count(1)
        self._answers: dict[int, Deferred[Any]] = {}
        self._connections: dict[int, PeerConnection] = {}
        self._listeners: dict[int, DeferredQueue[PeerConnection]] = {}
        self._line, theirs = socket.socketpair()
        self._process = _start(HERE / "peers" / f"{peer.name}_peer.py", theirs, log)
        self._line.setblocking(False)
        self._transport = _adopt(self._line, _Line(self))

    async def listen(
        self,
        *,
        subprotocols: Iterable[str] = (),
        refuse: dict[str, Any] | None = None,
        certificate: list[str] | None = None,
    ) -> PeerListening:
        """Listen on a free port."""
        made = await self.ask("listen", subprotocols=list(subprotocols), refuse=refuse, certificate=certificate)
        opens = self._listeners[made["listener"]] = DeferredQueue()
        return PeerListening(f"{'wss' if certificate else 'ws'}://127.0.0.1:{made['port']}/", opens)

    async def connect(
        self,
        url: str,
        *,
        subprotocols: Iterable[str] = (),
        origin: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
        trust: str | None = None,
    ) -> PeerConnection:
        """Return an open connection to *url*; raises ``PeerRefused`` or ``PeerFailed``."""
        made = await self.ask(
            "connect", url=url, subprotocols=list(subprotocols), origin=origin, headers=list(headers), trust=trust
        )
        connection = self._connection(made["connection"])
        connection.subprotocol = made["subprotocol"]
        return connection

    def ask(self, do: str, **arguments: object) -> Deferred[Any]:
        """Tell the peer to do something; fires with its answer."""
        number = next(self._numbers)
        answer = self._answers[number] = Deferred()
        self._transport.write(to_line({"id": number, "do": do, **arguments}))
        return answer

    def line_received(self, said: dict[str, Any]) -> None:
        """Take an answer or an event."""
        if "event" in said:
            self._happened(said)
            return
        answer = self._answers.pop(said["answer"])
        if "refused" in said:
            answer.errback(PeerRefused(**said["refused"]))
        elif "error" in said:
            answer.errback(PeerFailed(said["error"]))
        else:
            answer.callback(said["result"])

    def _happened(self, event: dict[str, Any]) -> None:
        connection = self._connection(event["connection"])
        if event["event"] == "open":
            connection.subprotocol = event["subprotocol"]
            self._listeners[event["listener"]].put(connection)
        else:
            connection.happened(event)

    def _connection(self, number: int) -> PeerConnection:
        if number not in self._connections:
            self._connections[number] = PeerConnection(self, number)
        return self._connections[number]

    def line_lost(self) -> None:
        """The process has ended: whoever waits for it waits no longer."""
        answers, self._answers = self._answers, {}
        for answer in answers.values():
            answer.errback(PeerFailed(f"the {self.peer.name} peer ended"))

    def end(self) -> None:
        """Close the line, at which the process ends."""
        with suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)
        self._line.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class _Line(LineOnlyReceiver):
    """Our end of the control line."""

    delimiter = b"\n"
    MAX_LENGTH = MAX_LINE

    def __init__(self, process: PeerProcess) -> None:
        self._process = process

    def lineReceived(self, line: bytes) -> None:
        self._process.line_received(from_line(line))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._process.line_lost()


def _adopt(line: socket.socket, protocol: LineOnlyReceiver) -> Any:
    from twisted.internet import reactor

    adopt = reactor.adoptStreamConnection  # type: ignore[attr-defined]  # any reactor that has file descriptors
    return adopt(line.fileno(), socket.AF_UNIX, Factory.forProtocol(lambda: protocol))


def _start(script: Path, line: socket.socket, log: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    with line, log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, str(script)], stdin=line.fileno(), stdout=output, stderr=subprocess.STDOUT, env=environment
        )
