"""Twisted's transports below a session: five calls, one question, and what comes up from them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure

from wsfactory.http11 import request_reader
from wsfactory.testing import Frame, Recorder, binary, close, ping, text, upgrade_request, upgrade_response
from wsfactory.twisted import ClientFactory, ClientProtocol, ServerFactory, ServerProtocol

KEY = b"\1\2\3\4"
LOST = Failure(ConnectionDone())


class Server(Recorder, ServerProtocol):
    """A server that notes its callbacks and echoes."""

    def onMessage(self, payload: bytes, isBinary: bool) -> object:
        self.calls.append(("onMessage", payload, isBinary))
        self.sendMessage(payload, isBinary)
        return None


class Client(Recorder, ClientProtocol):
    """A client that notes its callbacks."""


# Any: what is not typed in Twisted is of no interest here.
AnyDescriptor: Any = FileDescriptor
AnyStringTransport: Any = StringTransport


class CountingTransport(AnyStringTransport):
    """A transport of no kind that we know, and what each write gave it."""

    def __init__(self, **addresses: Any) -> None:
        super().__init__(**addresses)
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        super().write(data)


class Pipe(AnyDescriptor):
    """A transport like TCP's, into a kernel that takes *room* bytes (None: any number)."""

    def __init__(self) -> None:
        super().__init__(reactor=MemoryReactorClock())
        self.connected = 1
        self.room: int | None = None
        self.sent = b""
        self.writes = 0
        self.half_closed = self.aborted = False
        self.at_eof = False
        self.protocol: Any = None

    def write(self, data: bytes) -> None:
        self.writes += 1
        super().write(data)

    def writeSomeData(self, data: bytes) -> int:
        taken = len(data) if self.room is None else min(len(data), self.room)
        if self.room is not None:
            self.room -= taken
        self.sent += data[:taken]
        return taken

    def _closeWriteConnection(self) -> None:
        self.half_closed = True

    def connectionLost(self, reason: Failure) -> None:
        super().connectionLost(reason)
        self.protocol.connectionLost(reason)

    def abortConnection(self) -> None:
        self.aborted = True

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", "192.0.2.1", 1234)

    def poll(self) -> None:
        """Do what a reactor does for a socket that is ready."""
        if self.reads and self.at_eof:
            self.stopReading()
            self.protocol.readConnectionLost()
        if self in self.reactor.writers:
            lost = self.doWrite()
            if lost is not None:
                self.connectionLost(Failure(lost))

    @property
    def reads(self) -> bool:
        return self in self.reactor.readers


def connected(transport: Any, protocol: type[ServerProtocol] = Server, **options: Any) -> Any:
    """Return a server's session on *transport*, before its handshake."""
    session: Any = ServerFactory(protocol, reactor=Clock(), **options).buildProtocol(None)
    transport.protocol = session
    session.makeConnection(transport)
    return session


def opened(transport: Any, protocol: type[ServerProtocol] = Server, **options: Any) -> Any:
    session = connected(transport, protocol, **options)
    session.dataReceived(upgrade_request())
    return session


def piped(**options: Any) -> tuple[Any, Pipe]:
    """Return an open server's session on a pipe that has taken the 101."""
    pipe = Pipe()
    pipe.startReading()
    session = opened(pipe, **options)
    pipe.poll()
    pipe.sent, pipe.writes = b"", 0
    return session, pipe


def masked(*frames: Frame) -> bytes:
    return b"".join(frame.encode(KEY) for frame in frames)


def frames_in(data: bytes) -> list[Frame]:
    frames = []
    while (parsed := Frame.parse(data)) is not None:
        frame, data = parsed
        frames.append(frame)
    assert not data
    return frames


# Writing.


@pytest.mark.parametrize("make", [CountingTransport, Pipe])
def test_all_replies_to_one_read_leave_in_one_write(make: Callable[[], Any]) -> None:
    transport = make()
    session = opened(transport)
    if isinstance(transport, Pipe):
        transport.poll()
    before = transport.writes if isinstance(transport, Pipe) else len(transport.writes)
    session.dataReceived(masked(text(b"a"), ping(b"?"), binary(b"b"), text(b"c"), close(1000)))
    after = transport.writes if isinstance(transport, Pipe) else len(transport.writes)

    assert after - before == 1


def test_what_the_peer_reads_is_what_was_sent() -> None:
    session, pipe = piped()
    session.dataReceived(masked(text(b"a"), binary(bytes(1000))))
    pipe.poll()

    assert frames_in(pipe.sent) == [text(b"a"), binary(bytes(1000))]


def test_the_outbox_is_the_only_producer_and_a_push_producer() -> None:
    transport = AnyStringTransport()
    session = connected(transport)

    assert transport.producer is session._ws_wire
    assert transport.streaming


def test_what_the_transport_has_not_sent_is_not_added_to() -> None:
    """While a plain transport holds anything of ours, what is sent waits in the outbox, whole and unframed."""
    session, pipe = piped()
    pipe.room = 0
    session.sendMessage("first")
    session.sendMessage("second")
    pipe.poll()
    waiting = (pipe.writes, session.bufferedAmount)
    pipe.room = None
    pipe.poll()
    pipe.poll()

    assert waiting == (1, len("first") + 2 + len("second"))
    assert frames_in(pipe.sent) == [text(b"first"), text(b"second")]
    assert session.bufferedAmount == 0


def test_at_most_write_limit_is_in_the_transport() -> None:
    session, pipe = piped(writeLimit=4096)
    pipe.room = 0
    session.sendMessage(bytes(50_000), isBinary=True)
    largest = 0
    for _ in range(80):
        largest = max(largest, len(pipe.dataBuffer) - pipe.offset + pipe._tempDataLen)
        pipe.room = 1000
        pipe.poll()

    assert largest == 4096
    assert frames_in(pipe.sent) == [binary(bytes(50_000))]


def test_any_other_transport_is_filled_until_it_says_that_it_is_full() -> None:
    transport = CountingTransport()
    session = opened(transport)
    session._ws_wire.pauseProducing()
    session.sendMessage("held back")
    session.sendMessage("this too")
    held = transport.value()
    session._ws_wire.resumeProducing()

    # The transport is only asked whether it is full after it was given something.
    assert held.endswith(b"held back")
    assert transport.value().endswith(text(b"this too").encode())


def test_unsent_counts_all_that_a_transport_holds() -> None:
    """Also what it was given and has not looked at yet."""
    session, pipe = piped()
    pipe.room = 0
    amounts = [session._ws_wire.unsent()]
    session.sendMessage("12345")
    amounts.append(session._ws_wire.unsent())
    pipe.room = 3
    pipe.poll()
    amounts.append(session._ws_wire.unsent())
    pipe.room = None
    pipe.poll()
    amounts.append(session._ws_wire.unsent())

    assert amounts == [0, 7, 4, 0]


def test_of_a_transport_of_no_kind_that_we_know_nothing_is_known_to_be_unsent() -> None:
    session = opened(StringTransport())
    session.sendMessage("12345")

    assert session._ws_wire.unsent() == 0


# Reading.


def test_read_limit_is_what_one_read_takes() -> None:
    _, pipe = piped(readLimit=2048)

    assert pipe.bufferSize == 2048


@pytest.mark.parametrize("make", [StringTransport, Pipe])
def test_a_full_queue_pauses_the_transport_and_room_resumes_it(make: Callable[[], Any]) -> None:
    jobs: list[Deferred[None]] = []

    class Slow(Server):
        def onMessage(self, payload: bytes, isBinary: bool) -> object:
            jobs.append(Deferred())
            return jobs[-1]

    transport = make()
    if isinstance(transport, Pipe):
        transport.startReading()
    session = opened(transport, Slow, maxQueue=1)

    def reads() -> bool:
        return transport.reads if isinstance(transport, Pipe) else transport.producerState == "producing"

    states = [reads()]
    session.dataReceived(masked(text(b"a"), binary(bytes(70_000)), text(b"b")))
    states.append(reads())
    jobs[0].callback(None)
    states.append(reads())
    jobs[1].callback(None)
    states.append(reads())

    assert states == [True, False, False, True]


# Ending.


def test_finish_half_closes_behind_what_waits_and_reads_on_until_eof() -> None:
    session, pipe = piped()
    pipe.room = 0
    session.sendMessage("last")
    session.dataReceived(masked(close(1000)))
    pipe.poll()
    before = pipe.half_closed
    pipe.room = None
    for _ in range(3):
        pipe.poll()

    assert (before, pipe.half_closed) == (False, True)
    assert frames_in(pipe.sent) == [text(b"last"), close(1000)]
    assert pipe.reads
    assert not pipe.disconnected
    session.dataReceived(b"discarded")
    pipe.at_eof = True
    pipe.poll()
    assert pipe.disconnected
    assert session.calls[-1] == ("onClose", True, 1000, "")


def test_eof_before_everything_has_left_closes_once_it_has() -> None:
    session, pipe = piped()
    pipe.room = 0
    session.sendMessage("last")
    session.dataReceived(masked(close(1000)))
    pipe.at_eof = True
    pipe.poll()
    early = pipe.disconnected
    pipe.room = None
    for _ in range(3):
        pipe.poll()

    assert not early
    assert frames_in(pipe.sent) == [text(b"last"), close(1000)]
    assert pipe.disconnected
    assert session.calls[-1] == ("onClose", True, 1000, "")


def test_a_client_whose_server_has_ended_tcp_first_ends_it_too() -> None:
    """The server's EOF arrives while our Close still waits behind a message."""
    pipe = Pipe()
    pipe.startReading()
    factory = ClientFactory("ws://localhost/", Client, reactor=Clock())
    session: Any = factory.buildProtocol(None)
    pipe.protocol = session
    session.makeConnection(pipe)
    pipe.poll()
    request = request_reader().feed(pipe.sent)
    assert request is not None
    session.dataReceived(upgrade_response(request))
    pipe.room = 0
    session.sendMessage("last")
    session.dataReceived(close(1000).encode())
    pipe.at_eof = True
    pipe.poll()
    pipe.room = None
    for _ in range(3):
        pipe.poll()

    assert pipe.disconnected
    assert session.calls[-1] == ("onClose", True, 1000, "")


def test_a_slow_reader_has_time_as_long_as_it_takes_something() -> None:
    """Also of what had left our queue, and waited in the transport, when closing began."""
    session, pipe = piped(closeHandshakeTimeout=10)
    clock = session.factory.reactor
    pipe.room = 0
    session.sendMessage(bytes(50_000), isBinary=True)
    session.sendClose()
    for _ in range(20):
        clock.pump([0.5] * 18)
        pipe.room = 1000
        pipe.poll()
    slow = pipe.aborted
    clock.pump([0.5] * 23)

    assert (slow, pipe.aborted) == (False, True)


def test_finish_lets_a_paused_transport_see_the_peers_eof() -> None:
    session, pipe = piped()
    session._ws_wire.pause()
    session._ws_wire.finish()

    assert pipe.reads


def test_a_transport_that_cannot_half_close_is_closed() -> None:
    transport = AnyStringTransport()
    session = opened(transport)
    session.dataReceived(masked(close(1000)))

    assert transport.disconnecting
    assert transport.producer is None


def test_abort_does_not_wait_for_what_is_unsent() -> None:
    transport = AnyStringTransport()
    session = opened(transport)
    session.dropConnection(abort=True)

    assert transport.disconnected


def test_a_transport_that_cannot_abort_is_closed() -> None:
    class Simple:
        lost = False

        def write(self, data: bytes) -> None: ...

        def registerProducer(self, producer: object, streaming: bool) -> None: ...

        def getPeer(self) -> None: ...

        def loseConnection(self) -> None:
            self.lost = True

    transport = Simple()
    session = connected(transport)
    session.dropConnection(abort=True)

    assert transport.lost


def test_what_is_asked_of_a_transport_that_is_gone_does_nothing() -> None:
    """One with TLS would raise."""

    class Gone(AnyStringTransport):
        def refuse(self) -> None:
            raise AssertionError("it is gone")

    transport = Gone()
    session = opened(transport)
    wire = session._ws_wire
    for name in ("pauseProducing", "resumeProducing", "unregisterProducer", "abortConnection"):
        setattr(transport, name, transport.refuse)
    session.connectionLost(LOST)
    wire.pause()
    wire.resume()
    wire.finish()
    wire.abort()

    assert session.names[-1] == "onClose"


def test_a_session_hears_of_half_closing() -> None:
    """Without this interface Twisted ends the connection at the peer's EOF, and what is unsent is lost."""
    assert IHalfCloseableProtocol.implementedBy(ServerProtocol)
    assert IHalfCloseableProtocol.implementedBy(ClientProtocol)


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ((), "before the request"),
        ((b"GET / HTTP/1.1\r\n",), "amid the request"),
        ((b"GET / HTTP/1.1\r\n\r\n",), "after a refusal"),
        ((upgrade_request(),), "open"),
        ((upgrade_request(), text(b"a", fin=False).encode(KEY)), "amid a message"),
        ((upgrade_request(), close(1000).encode(KEY)), "after its close"),
        ((upgrade_request(), b"\xff"), "after it broke the protocol"),
    ],
)
def test_eof_ends_the_connection_in_every_state(said: tuple[bytes, ...], state: str) -> None:
    pipe = Pipe()
    session = connected(pipe)
    for data in said:
        session.dataReceived(data)
    session.readConnectionLost()
    clock = session.factory.reactor
    for _ in range(5):
        pipe.poll()
        clock.advance(0)
    lost = pipe.disconnected or pipe.aborted
    if not pipe.disconnected:
        pipe.connectionLost(LOST)

    assert lost, state
    assert session.names[-1:] in (["onClose"], [])
    assert clock.getDelayedCalls() == []
    assert not session.factory.connections
    assert not session.factory.openings


# Wrapped transports.


class Wrapped(ProtocolWrapper):
    """A layer that passes everything on, like policies.TrafficLoggingFactory's."""


def test_a_wrapped_transport_works_like_what_it_wraps() -> None:
    factory = ServerFactory(Server, reactor=Clock(), readLimit=2048)
    wrapping = WrappingFactory(factory)
    wrapping.protocol = Wrapped
    wrapper: Any = wrapping.buildProtocol(None)
    pipe = Pipe()
    pipe.protocol = wrapper
    wrapper.makeConnection(pipe)
    wrapper.dataReceived(upgrade_request())
    pipe.poll()
    pipe.sent = b""
    wrapper.dataReceived(masked(text(b"a"), close(1000)))
    for _ in range(3):
        pipe.poll()

    assert pipe.bufferSize == 2048
    assert frames_in(pipe.sent) == [text(b"a"), close(1000)]
    assert pipe.half_closed
    assert not pipe.disconnected


# Who it is.


@pytest.mark.parametrize(
    ("address", "peer"),
    [
        (IPv4Address("TCP", "192.0.2.1", 1234), "192.0.2.1:1234"),
        (IPv6Address("TCP", "2001:db8::1", 1234), "[2001:db8::1]:1234"),
        (UNIXAddress("/run/x.sock"), "unix"),
        (UNIXAddress(None), "unix"),
    ],
)
def test_the_peer_is_named_by_its_address(address: Any, peer: str) -> None:
    assert connected(StringTransport(peerAddress=address)).peer == peer


def test_before_it_is_connected_there_is_no_peer() -> None:
    session: Any = ServerFactory(Server, reactor=Clock()).buildProtocol(None)

    assert session.peer == ""


def test_twisteds_log_calls_it_by_its_class() -> None:
    assert connected(StringTransport()).logPrefix() == "Server"


# The whole.


def test_importing_it_installs_no_reactor_and_chooses_no_framework() -> None:
    code = (
        "import sys, wsfactory.twisted\n"
        "assert 'twisted.internet.reactor' not in sys.modules\n"
        "assert 'asyncio' not in sys.modules or 'twisted' in sys.modules\n"
        "from txaio import tx, aio\n"
        "import txaio\n"
        "assert not txaio._explicit_framework, txaio._explicit_framework\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_the_end_of_a_transport_that_never_came_is_none() -> None:
    session = ServerFactory(Server).buildProtocol(None)
    session.connectionLost(Failure(ConnectionDone()))

    assert not session.connected
