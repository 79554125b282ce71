"""The asyncio transport under a session: reading through one buffer, marks, both directions' end, on both loops."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import time
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Authority
from tests.loops import Echo, NotingClient, NotingServer, Raw, Serving, at_rest, on_loops, turn, until
from wsfactory import TLS, CloseCause
from wsfactory.asyncio import ClientFactory, connect
from wsfactory.asyncio.server import ServerProtocol
from wsfactory.asyncio.transport import AsyncioFutures, Wire, flavour_for
from wsfactory.testing import Frame, binary, close, text, upgrade_request

KIB = 1024
MIB = 1024 * KIB
KEY = b"\1\2\3\4"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def shown(authority: Authority) -> ssl.SSLContext:
    """Return what a server at 127.0.0.1 shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("127.0.0.1").files())
    return context


async def raw_peer(server: Serving, **keywords: Any) -> Raw:
    """Return a connection to *server* that is open, and whose bytes the test writes."""
    loop = asyncio.get_running_loop()
    _, raw = await loop.create_connection(Raw, "127.0.0.1", server.port, **keywords)
    raw.wire.write(upgrade_request())
    await raw.until(b"\r\n\r\n")
    return raw


def masked(*frames: Frame) -> bytes:
    return b"".join(frame.encode(KEY) for frame in frames)


class FakeTransport:
    """Notes what it is asked for; ``holds`` is what its buffer holds."""

    def __init__(self, half_closes: bool = True) -> None:
        self.calls: list[Any] = []
        self.holds = 0
        self.closing = False
        self._half_closes = half_closes

    def can_write_eof(self) -> bool:
        return self._half_closes

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return self.holds

    def get_extra_info(self, name: str) -> None:
        return None

    def set_write_buffer_limits(self, high: int) -> None:
        self.calls.append(("limits", high))

    def write(self, data: bytes) -> None:
        self.calls.append(("write", data))

    def close(self) -> None:
        self.closing = True
        self.calls.append("close")

    def __getattr__(self, name: str) -> Any:
        return lambda *_: self.calls.append(name)


class FakeSession:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self._ws_options = type("Options", (), {"tcpNoDelay": True, "writeLimit": (64 * KIB, 0)})
        self._ws_conversation = None

    def _ws_writable(self) -> None:
        self.calls.append("writable")

    def _ws_eof_reached(self) -> None:
        self.calls.append("eof_reached")


def fake(half_closes: bool = True) -> tuple[Any, FakeTransport, FakeSession]:
    transport: Any = FakeTransport(half_closes)
    session: Any = FakeSession()
    wire = Wire(transport, session)
    transport.calls.clear()
    return wire, transport, session


@on_loops
async def test_a_wss_client_sends_nothing_over_plain_tcp() -> None:
    transport: Any = FakeTransport()
    client: Any = ClientFactory("wss://anna:secret@localhost/", NotingClient)()
    client.connection_made(transport)

    assert "without TLS" in str(client.calls[-1])
    assert (client.names, transport.calls) == (["onConnecting", "onHandshakeFailed"], [("limits", 0), "abort"])


def test_what_is_written_together_leaves_in_one_write() -> None:
    wire, transport, _ = fake()

    assert wire.write([b"a", b"b"])
    assert transport.calls == [("write", b"ab")]


def test_room_is_reported_once_and_only_where_there_was_none() -> None:
    """asyncio's TLS says that there is room amid every other write; only what follows a full buffer counts."""
    wire, transport, session = fake()
    wire.writable()
    transport.holds = 1
    assert not wire.write([b"a"])
    transport.holds = 0
    wire.writable()
    wire.writable()

    assert session.calls == ["writable"]


def test_nothing_is_written_to_a_transport_that_is_closing() -> None:
    wire, transport, _ = fake()
    transport.closing = True

    assert wire.write([b"a"])
    wire.pause()
    wire.resume()
    assert transport.calls == []


def test_finishing_half_closes_and_the_peers_eof_then_closes() -> None:
    wire, transport, session = fake()
    wire.finish()
    wire.finish()
    wire.eof()

    assert transport.calls == ["resume_reading", "write_eof", "close"]
    assert session.calls == []


def test_after_the_peers_eof_finishing_closes_once() -> None:
    """A second close() would make asyncio's TLS transports unusable."""
    wire, transport, session = fake()
    wire.eof()
    wire.finish()
    wire.finish()

    assert transport.calls == ["close"]
    assert session.calls == ["eof_reached"]


@on_loops
async def test_all_connections_of_a_loop_read_into_one_buffer() -> None:
    async with Serving() as server:
        clients: list[Any] = [await connect(server.url, ClientFactory(server.url, NotingClient)) for _ in range(3)]
        buffers = {id(session._ws_buffer.obj) for session in [*clients, *server.factory.connections]}
        for number, client in enumerate(clients):
            client.sendMessage(str(number))
        await until(lambda: all(client.messages for client in clients))

    assert len(buffers) == 1
    assert [client.messages for client in clients] == [["0"], ["1"], ["2"]]


@on_loops
async def test_a_read_takes_at_most_read_limit() -> None:
    """Another factory's larger limit makes the buffer larger, and nobody's reads."""
    async with Serving(readLimit=4096) as small, Serving(readLimit=8192) as large:
        first: Any = await connect(small.url, ClientFactory(small.url, NotingClient))
        second: Any = await connect(large.url, ClientFactory(large.url, NotingClient))
        lengths = [len((await server.session())._ws_buffer) for server in (small, large)]
        for client in (first, second):
            client.sendMessage(bytes(100 * KIB), isBinary=True)
        await until(lambda: first.messages and second.messages)

    assert lengths == [4096, 8192]
    assert first.messages == second.messages == [bytes(100 * KIB)]


@on_loops
async def test_a_paused_connection_holds_its_peer_back_and_loses_nothing() -> None:
    async with Serving(maxQueue=4) as server:
        client: Any = await connect(server.url, ClientFactory(server.url, NotingClient))
        session = await server.session()
        session.pauseReceiving()
        for _ in range(200):
            client.sendMessage(bytes(64 * KIB), isBinary=True)
        await until(lambda: client.bufferedAmount and server.factory.counters.messagesReceived >= 4)
        held = server.factory.counters.messagesReceived
        session.resumeReceiving()
        await until(lambda: len(client.messages) == 200)

    assert held <= 4 + 4


@on_loops
async def test_drain_waits_until_the_peer_has_taken_enough() -> None:
    async with Serving(NotingServer, writeLimit=64 * KIB) as server:
        raw = await raw_peer(server)
        session = await server.session()
        raw.wire.pause_reading()
        while session.bufferedAmount <= MIB:
            session.sendMessage(bytes(64 * KIB), isBinary=True)
            await turn()
        drained = session.drain()
        waited = not drained.done()
        raw.wire.resume_reading()
        await drained
        raw.wire.abort()

    assert waited
    assert session.names.count("onSendPaused") >= 1
    assert "onSendResumed" in session.names


@on_loops
async def test_a_peer_that_has_shut_down_its_side_still_gets_the_answer() -> None:
    """A Close and FIN in one packet: the Close frame is answered, then TCP ends in order."""
    async with Serving() as server:
        raw = await raw_peer(server)
        raw.wire.write(masked(text("last"), close(3000)))
        raw.wire.write_eof()
        await until(lambda: raw.eof)
        raw.wire.close()
        session = await server.session()
        await until(lambda: session.closeInfo)

    assert raw.received == text("last").encode() + close(3000).encode()
    assert (session.closeInfo.code, session.closeInfo.wasClean) == (3000, True)


@on_loops
async def test_a_connection_that_is_lost_is_a_1006_after_its_messages() -> None:
    async with Serving(NotingServer) as server:
        raw = await raw_peer(server)
        raw.wire.write(masked(text("last")))
        session = await server.session()
        await until(lambda: session.messages)
        raw.wire.abort()
        await until(lambda: session.closeInfo)

    assert session.closeInfo.cause is CloseCause.CONNECTION_LOST
    assert session.names == ["onConnect", "onOpen", "onMessage", "onClose"]


def received_until_reset(handle: socket.socket) -> tuple[int, bool]:
    """Return how many bytes a blocking socket gives before its end, and whether that was a reset."""
    count = 0
    handle.settimeout(10)
    try:
        while data := handle.recv(65536):
            count += len(data)
    except ConnectionResetError:
        return count, True
    return count, False


@pytest.mark.parametrize("secure", [False, True], ids=["tcp", "tls"])
@on_loops
async def test_abort_leaves_nothing_in_the_kernel(authority: Authority, secure: bool) -> None:
    """A stalled peer gets RST: the kernel keeps neither what was unsent nor the connection."""
    tls: dict[str, Any] = {"where": "wss://127.0.0.1:0/", "tls": shown(authority)} if secure else {}
    async with Serving(NotingServer, **tls) as server:
        trust = ssl.create_default_context(cafile=str(authority.path)) if secure else None
        raw = await raw_peer(server, ssl=trust)
        session = await server.session()
        handle = socket.socket(fileno=os.dup(raw.wire.get_extra_info("socket").fileno()))
        raw.wire.pause_reading()
        while session.bufferedAmount < 8 * MIB:
            session.sendMessage(bytes(MIB), isBinary=True)
        await at_rest(session._ws_wire.unsent)
        assert session._ws_wire.unsent()
        local = session.transport.get_extra_info("sockname")
        session.dropConnection(abort=True)
        await until(lambda: session.closeInfo)
        states = tcp_states(local[1], handle.getsockname()[1])
        _, was_reset = await asyncio.to_thread(received_until_reset, handle)
        handle.close()
        raw.wire.abort()

    assert states <= {"none"}
    assert was_reset


def tcp_states(local: int, remote: int) -> set[str]:
    """Return the states of the connection from port *local* to *remote*, as Linux shows them."""
    table = Path("/proc/net/tcp")
    if not table.exists():
        return set()
    found = set()
    for line in table.read_text().splitlines()[1:]:
        _, here, there, state, *_ = line.split()
        if (int(here.rpartition(":")[2], 16), int(there.rpartition(":")[2], 16)) == (local, remote):
            found.add(state)
    return found or {"none"}


@on_loops
async def test_a_blocked_loop_reads_before_deadlines_fire() -> None:
    """What the kernel holds when a callback has blocked the loop past a deadline is read first."""
    async with Serving(NotingServer) as server:
        raw = await raw_peer(server)
        session = await server.session()
        seen: list[list[Any]] = []
        session._ws_flavour.wheel.after(0.02, lambda: seen.append(session.messages))
        # Past the event loop's own buffer: the bytes are in the kernel when the loop goes on.
        raw.wire.write(masked(text("in time")))
        time.sleep(0.2)  # noqa: ASYNC251
        await until(lambda: seen)

    assert seen == [["in time"]]


@on_loops
async def test_tls_lingers_only_where_the_peer_may_still_be_sending(authority: Authority) -> None:
    """A clean close ends TLS at once; a failure reads on until the peer is silent, so that 1009 is not reset away."""
    options: dict[str, Any] = {"where": "wss://127.0.0.1:0/", "tls": shown(authority), "maxMessagePayloadSize": 1000}
    trust = ssl.create_default_context(cafile=str(authority.path))
    async with Serving(Echo, **options) as server:
        raw = await raw_peer(server, ssl=trust)
        raw.wire.write(masked(binary(bytes(1001))))
        for _ in range(200):
            raw.wire.write(masked(binary(bytes(64 * KIB))))
            await turn()
        await raw.until(close(1009, "").encode()[2:4])
        await until(lambda: raw.lost)
        failed = await server.session()
        await until(lambda: failed.closeInfo)
        client: Any = await connect(server.url, ClientFactory(server.url, NotingClient, tls=TLS(str(authority.path))))
        client.sendClose()
        started = time.monotonic()
        await until(lambda: client.closeInfo)

    assert failed.closeInfo.localCode == 1009
    assert client.closeInfo.wasClean
    assert time.monotonic() - started < 1.0


# Futures.


@on_loops
async def test_futures_report_results_failures_and_cancellation() -> None:
    futures = AsyncioFutures(asyncio.get_running_loop())
    seen: list[object] = []
    cancelled: list[str] = []
    resolved, rejected = futures.create(), futures.create()
    for future in (resolved, rejected):
        futures.watch(future, seen.append, lambda error: seen.append(type(error)))
    futures.resolve(resolved, 1)
    futures.reject(rejected, KeyError())
    given_up = futures.create(lambda: cancelled.append("cancelled"))
    futures.watch(given_up, seen.append, lambda error: seen.append(type(error)))
    futures.cancel(given_up)
    await turn()
    await turn()
    futures.resolve(given_up, "too late")

    assert seen == [1, KeyError, asyncio.CancelledError]
    assert cancelled == ["cancelled"]
    assert futures.has_ended(given_up)


@on_loops
async def test_what_a_callback_returns_is_awaited_whatever_it_is() -> None:
    """A coroutine, a Future, a Deferred, anything with __await__; everything else is no future."""
    from twisted.internet.defer import succeed

    async def coroutine() -> int:
        return 1

    class Awaitable:
        def __await__(self) -> Any:
            return coroutine().__await__()

    loop = asyncio.get_running_loop()
    futures = AsyncioFutures(loop)
    ready = loop.create_future()
    ready.set_result(1)
    results = [futures.from_result(one) for one in (coroutine(), ready, succeed(1), Awaitable())]

    assert [await one for one in results if one is not None] == [1, 1, 1, 1]
    assert [futures.from_result(one) for one in (None, 1, "text", object())] == [None] * 4


@on_loops
async def test_all_factories_on_a_loop_share_one_wheel() -> None:
    loop = asyncio.get_running_loop()
    first = flavour_for(loop)

    assert flavour_for(loop).wheel is first.wheel
    assert first.name == "asyncio"


@pytest.mark.parametrize("half_closes", [True, False])
def test_the_peers_eof_keeps_open_only_what_can_half_close(half_closes: bool) -> None:
    """Asyncio warns, in its log, of a TLS transport that is asked to stay open."""
    wire, _, _ = fake(half_closes)
    protocol = ServerProtocol()
    protocol._ws_wire = wire

    assert protocol.eof_received() is half_closes
