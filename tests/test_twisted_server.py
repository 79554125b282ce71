"""The server's side on Twisted: its factory behind every kind of endpoint, over real sockets, and what ends with it."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, serverFromString, wrapClientTLS
from twisted.internet.error import CannotListenError
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.internet.protocol import Factory
from twisted.internet.ssl import Certificate, optionsForClientTLS
from twisted.internet.testing import StringTransport
from zope.interface.verify import verifyObject

from tests.certificates import Authority
from tests.loopback import (
    Echo,
    NotingServer,
    Raw,
    Serving,
    at_rest,
    dial,
    nothing_left_over,
    on_reactor,
    the_reactor,
    until,
)
from wsfactory import InvalidState, InvalidURL, OptionError
from wsfactory.testing import binary, close, ping, pong, text, upgrade_request
from wsfactory.twisted import ClientProtocol, ServerFactory, ServerProtocol, listen

nothing_is_left_over = pytest_twisted.async_yield_fixture(autouse=True)(nothing_left_over)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


async def echoes(raw: Raw) -> bool:
    """Return whether what is at the other end is an echo, after a handshake with it."""
    await raw.shake_hands()
    raw.send(text(b"hello"))
    return await raw.frame() == text(b"hello")


async def dial_tls(address: Any, authority: Authority) -> Raw:
    asked = optionsForClientTLS("localhost", Certificate.loadPEM(authority.path.read_bytes()))
    endpoint: Any = wrapClientTLS(asked, TCP4ClientEndpoint(the_reactor(), address.host, address.port))
    raw: Raw = await endpoint.connect(Factory.forProtocol(Raw))
    return raw


async def hang_up(*raws: Raw) -> None:
    for raw in raws:
        raw.wire.abortConnection()
        await raw.lost


# The factory.


def test_a_factory_makes_protocols_as_twisted_expects() -> None:
    factory = ServerFactory(Echo)
    session = factory.buildProtocol(None)

    assert verifyObject(IProtocolFactory, factory)
    assert verifyObject(IProtocol, session)
    assert session.factory is factory


def test_a_protocol_may_be_given_later_or_by_for_protocol() -> None:
    later = ServerFactory()
    later.protocol = Echo
    by_name: Any = ServerFactory.forProtocol(Echo, maxFragments=5)  # type: ignore[arg-type]

    assert isinstance(later.buildProtocol(None), Echo)
    assert isinstance(by_name.buildProtocol(None), Echo)
    assert by_name.options.maxFragments == 5


def test_a_protocol_may_be_any_callable_and_have_any_init() -> None:
    class Named(ServerProtocol):
        def __init__(self, name: str) -> None:
            self.name = name

    factory = ServerFactory()
    factory.protocol = lambda: Named("x")

    assert factory.buildProtocol(None).name == "x"  # type: ignore[attr-defined]


def test_without_a_protocol_it_says_what_to_do() -> None:
    with pytest.raises(InvalidState, match=r"ServerFactory\(MyProtocol\), or factory.protocol = MyProtocol"):
        ServerFactory().buildProtocol(None)
    with pytest.raises(InvalidState, match="the factory has no protocol"):
        listen("ws://127.0.0.1:0/", ServerFactory())


@pytest.mark.parametrize("protocol", ["x", ClientProtocol, Factory])
def test_what_is_no_servers_protocol_is_an_error_at_once(protocol: Any) -> None:
    with pytest.raises(OptionError, match=r"protocol takes a subclass of wsfactory\.twisted\.ServerProtocol"):
        ServerFactory(protocol)


def test_a_bad_option_is_an_error_at_once() -> None:
    with pytest.raises(OptionError, match="unknown option 'maxMessageSize'"):
        ServerFactory(Echo, maxMessageSize=5)


def test_twisted_does_not_log_each_start_of_it() -> None:
    assert not ServerFactory(Echo).noisy


def test_a_session_runs_on_a_transport_of_twisteds_test_kit() -> None:
    """Users test their protocols with StringTransport."""
    transport: Any = StringTransport()
    session = ServerFactory(Echo).buildProtocol(None)
    session.makeConnection(transport)
    session.dataReceived(upgrade_request())
    transport.clear()
    session.dataReceived(text(b"hello").encode(b"\1\2\3\4") + close(1000).encode(b"\1\2\3\4"))
    session.connectionLost(pytest.importorskip("twisted.internet.protocol").connectionDone)

    assert transport.value() == text(b"hello").encode() + close(1000).encode()
    assert session.names[-1] == "onClose"  # type: ignore[attr-defined]


# Every endpoint.


@pytest.mark.parametrize("where", ["ws://127.0.0.1:0/", "ws://localhost:0", "tcp:0:interface=127.0.0.1"])
@on_reactor
async def test_it_listens_at_a_url_or_a_description(where: str) -> None:
    serving = Serving()
    raw = await dial(await serving.listen(where))
    answer = await echoes(raw)
    await hang_up(raw)
    await serving.stop()

    assert answer


@pytest.mark.skipif(not socket.has_ipv6, reason="IPv6")
@pytest.mark.parametrize("where", ["ws://[::1]:0/", r"tcp6:0:interface=\:\:1"])
@on_reactor
async def test_it_listens_on_ipv6(where: str) -> None:
    from twisted.internet.endpoints import TCP6ClientEndpoint

    serving = Serving()
    address = await serving.listen(where)
    raw: Any = await TCP6ClientEndpoint(the_reactor(), "::1", address.port).connect(Factory.forProtocol(Raw))
    answer = await echoes(raw)
    session = await serving.session()
    peer = session.peer
    await hang_up(raw)
    await serving.stop()

    assert answer
    assert peer.startswith("[::1]:")


@pytest.mark.parametrize("where", ["ws+unix://{path}", "unix:{path}"])
@on_reactor
async def test_it_listens_on_a_unix_socket(tmp_path: Path, where: str) -> None:
    path = tmp_path / "x.sock"
    serving = Serving()
    raw = await dial(await serving.listen(where.format(path=path)))
    answer = await echoes(raw)
    session = await serving.session()
    peer = session.peer
    await hang_up(raw)
    await serving.stop()
    await until(lambda: not path.exists())

    assert answer
    assert peer == "unix"


@pytest.mark.parametrize("kind", ["wss", "ssl"])
@on_reactor
async def test_it_listens_with_tls(authority: Authority, kind: str) -> None:
    shown, serving = authority.issue("localhost"), Serving()
    if kind == "wss":
        address = await serving.listen("wss://127.0.0.1:0/", tls=shown.for_twisted())
    else:
        address = await serving.listen(f"ssl:0:interface=127.0.0.1:privateKey={shown.key_path}:certKey={shown.path}")
    raw = await dial_tls(address, authority)
    answer = await echoes(raw)
    raw.send(close(1000))
    closing = await raw.frame()
    await raw.lost
    session = await serving.session()
    ended = await session.closed
    await serving.stop()

    assert answer
    assert closing == close(1000)
    assert ended == (True, 1000, "")


@on_reactor
async def test_it_works_with_endpoints_of_the_users() -> None:
    answers = []
    for endpoint in (
        TCP4ServerEndpoint(the_reactor(), 0, interface="127.0.0.1"),
        serverFromString(the_reactor(), "tcp:0:interface=127.0.0.1"),
    ):
        port: Any = await endpoint.listen(ServerFactory(Echo))
        raw = await dial(port.getHost())
        answers.append(await echoes(raw))
        await hang_up(raw)
        await port.stopListening()

    assert answers == [True, True]


@on_reactor
async def test_it_works_with_reactor_listen_tcp() -> None:
    port = the_reactor().listenTCP(0, ServerFactory(Echo), interface="127.0.0.1")
    raw = await dial(port.getHost())
    answer = await echoes(raw)
    await hang_up(raw)
    await port.stopListening()

    assert answer


@on_reactor
async def test_listening_at_a_port_in_use_fails() -> None:
    serving = Serving()
    address = await serving.listen()
    with pytest.raises(CannotListenError):
        await serving.listen(f"ws://127.0.0.1:{address.port}/")
    await serving.stop()


def test_listening_at_what_is_no_url_is_an_error_at_once() -> None:
    with pytest.raises(InvalidURL):
        listen("ws://no such host/", ServerFactory(Echo))


# On real sockets.


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's socket options")
@pytest.mark.parametrize("no_delay", [True, False])
@on_reactor
async def test_the_sockets_options_are_as_asked(no_delay: bool) -> None:
    serving = Serving(tcpNoDelay=no_delay, writeLimit=20_000, readLimit=5_000)
    raw = await dial(await serving.listen())
    session = await serving.session()
    await raw.shake_hands()
    handle = session.transport.socket
    options = [
        bool(handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)),
        handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT),
        session.transport.bufferSize,
    ]
    await hang_up(raw)
    await serving.stop()

    assert options == [no_delay, 20_000, 5_000]


@on_reactor
async def test_a_large_message_comes_back_whole() -> None:
    serving = Serving(autoFragmentSize=0)
    raw = await dial(await serving.listen())
    await raw.shake_hands()
    payload = bytes(range(256)) * 4000
    raw.send(binary(payload))
    answer = await raw.frame()
    await hang_up(raw)
    await serving.stop()

    assert answer == binary(payload)


@on_reactor
async def test_after_closing_it_half_closes_and_waits_for_eof() -> None:
    """What the client still sends is read and discarded, so that the Close frame is not lost to a reset."""
    serving = Serving()
    raw = await dial(await serving.listen())
    await raw.shake_hands()
    raw.send(close(1000))
    answer = await raw.frame()
    await raw.eof
    early = raw.lost.has_happened
    raw.send(bytes(100_000))
    await raw.leave()
    session = await serving.session()
    ended = await session.closed
    await serving.stop()

    assert answer == close(1000)
    assert not early
    assert ended == (True, 1000, "")


@on_reactor
async def test_a_refusal_is_read_by_a_client_that_sends_more() -> None:
    serving = Serving()
    raw = await dial(await serving.listen())
    raw.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" + bytes(200_000))
    head = await raw.until(b"\r\n\r\n")
    await raw.eof
    early = raw.lost.has_happened
    await raw.leave()
    await serving.stop()

    assert head.startswith(b"HTTP/1.1 426 ")
    assert not early


@on_reactor
async def test_a_message_beyond_the_limit_is_refused_readably() -> None:
    """A 1009 that can be read, though the client is still sending."""
    serving = Serving(maxMessagePayloadSize=1000)
    raw = await dial(await serving.listen())
    await raw.shake_hands()
    raw.send(binary(bytes(1_000_000)))
    answer = await raw.frame()
    await raw.leave()
    await serving.stop()

    assert int.from_bytes(answer.payload[:2], "big") == 1009


@on_reactor
async def test_a_backlog_arrives_before_the_close() -> None:
    class Generous(NotingServer):
        def onOpen(self) -> None:
            for number in range(30):
                self.sendMessage(bytes([number]) * 100_000, isBinary=True)
            self.sendClose(3000, "enough")

    serving = Serving(Generous)
    raw = await dial(await serving.listen())
    await raw.shake_hands()
    frames = [await raw.frame() for _ in range(31)]
    raw.send(close(3000))
    await raw.leave()
    session = await serving.session()
    ended = await session.closed
    await serving.stop()

    assert frames == [*(binary(bytes([number]) * 100_000) for number in range(30)), close(3000, "enough")]
    assert ended == (True, 3000, "")


@pytest.mark.parametrize("kind", ["ws", "wss"])
@on_reactor
async def test_what_a_stalled_client_does_not_take_waits_with_us_unframed(authority: Authority, kind: str) -> None:
    """Only some writeLimits are in the transport, of TLS, too; the rest waits in the outbox, and all of it arrives."""
    serving = Serving(writeLimit=16_000)
    tls = authority.issue("localhost").for_twisted() if kind == "wss" else None
    address = await serving.listen(f"{kind}://127.0.0.1:0/", tls=tls)
    raw = await (dial(address) if tls is None else dial_tls(address, authority))
    await raw.shake_hands()
    session = await serving.session()
    raw.wire.pauseProducing()
    for number in range(200):
        session.sendMessage(bytes([number]) * 50_000, isBinary=True)
    await at_rest(lambda: session.bufferedAmount)
    lower = session._ws_wire._descriptor
    held = len(lower.dataBuffer) + lower._tempDataLen
    waiting = session.bufferedAmount
    raw.wire.resumeProducing()
    frames = [await raw.frame() for _ in range(200)]
    left = session.bufferedAmount
    await hang_up(raw)
    await serving.stop()

    assert held < 300_000
    assert waiting > 5_000_000
    assert frames == [binary(bytes([number]) * 50_000) for number in range(200)]
    assert left == 0


@on_reactor
async def test_a_client_that_vanishes_is_a_1006() -> None:
    serving = Serving()
    raw = await dial(await serving.listen())
    await raw.shake_hands()
    session = await serving.session()
    raw.wire.abortConnection()
    ended = await session.closed
    await serving.stop()

    assert ended[:2] == (False, 1006)


@on_reactor
async def test_a_client_that_half_closes_without_a_close_frame_is_a_1006() -> None:
    serving = Serving()
    raw = await dial(await serving.listen())
    await raw.shake_hands()
    session = await serving.session()
    await raw.leave()
    ended = await session.closed
    await serving.stop()

    assert ended[:2] == (False, 1006)


@on_reactor
async def test_a_full_queue_stops_the_client_and_nothing_is_lost() -> None:
    first: Deferred[None] = Deferred()

    class Slow(NotingServer):
        async def onMessage(self, payload: bytes, isBinary: bool) -> None:
            await first
            self.calls.append(("onMessage", payload, isBinary))

    serving = Serving(Slow, maxQueue=2)
    raw = await dial(await serving.listen())
    await raw.shake_hands()
    session = await serving.session()
    raw.send(*[binary(bytes([number]) * 30_000) for number in range(100)])
    await until(lambda: session.transport not in the_reactor().getReaders())
    held = list(session.names)
    first.callback(None)
    await until(lambda: session.names.count("onMessage") == 100)
    await hang_up(raw)
    await serving.stop()

    assert "onMessage" not in held
    assert session.messages == [bytes([number]) * 30_000 for number in range(100)]


@on_reactor
async def test_coroutines_and_deferreds_are_awaited_one_at_a_time() -> None:
    gates: dict[bytes, Deferred[None]] = {b"deferred": Deferred(), b"coroutine": Deferred()}

    class Slow(NotingServer):
        def onMessage(self, payload: bytes, isBinary: bool) -> Any:
            self.calls.append(("began", payload))
            gate = gates[payload]
            return gate if payload == b"deferred" else self.wait(gate)

        async def wait(self, gate: Deferred[None]) -> None:
            await gate

    serving = Serving(Slow)
    raw = await dial(await serving.listen())
    await raw.shake_hands()
    session = await serving.session()
    raw.send(text(b"deferred"), text(b"coroutine"), ping(b"?"))
    overtook = await raw.frame()
    begun = [session.names.count("began")]
    gates[b"deferred"].callback(None)
    begun.append(session.names.count("began"))
    gates[b"coroutine"].callback(None)
    await hang_up(raw)
    await serving.stop()

    assert overtook == pong(b"?")
    assert begun == [1, 2]


# Shutting down.


@on_reactor
async def test_shutdown_closes_the_ports_that_listen_opened() -> None:
    serving = Serving()
    address = await serving.listen()
    await serving.listen("ws://127.0.0.1:0/")
    aborted = await serving.factory.shutdown()
    with pytest.raises(Refused):
        await dial(address)

    assert aborted == []


@on_reactor
async def test_shutdown_closes_connections_with_1001_and_waits_for_them() -> None:
    serving = Serving()
    raw = await dial(await serving.listen())
    await raw.shake_hands()
    down = serving.factory.shutdown()
    told = await raw.frame()
    early = down.called
    raw.send(close(1001))
    await raw.eof
    await raw.leave()
    aborted = await down

    assert told == close(1001)
    assert not early
    assert aborted == []


@on_reactor
async def test_a_second_shutdown_aborts_what_is_left() -> None:
    serving = Serving()
    raw = await dial(await serving.listen())
    await raw.shake_hands()
    session = await serving.session()
    first = serving.factory.shutdown()
    aborted = await serving.factory.shutdown()
    await raw.lost

    assert aborted == [session]
    assert await first == [session]


@on_reactor
async def test_a_port_that_was_closed_already_does_not_hinder_shutdown() -> None:
    serving = Serving()
    await serving.listen()
    port: Any = serving.ports[0]
    await port.stopListening()

    assert await serving.factory.shutdown() == []
