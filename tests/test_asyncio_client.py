"""The client's side on asyncio: connecting over real sockets, every way that can fail, and giving up at every stage."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Authority
from tests.loops import Answering, Echo, NotingClient, NotingServer, Playing, Raw, Serving, on_loops, until
from wsfactory import (
    TLS,
    CloseCause,
    ConnectError,
    HandshakeError,
    HandshakeTimeout,
    Headers,
    InvalidState,
    InvalidURL,
    OptionError,
)
from wsfactory.asyncio import ClientFactory, connect
from wsfactory.stream import Stream

UNAUTHORIZED = (
    b"HTTP/1.1 401 Who are you\r\nWWW-Authenticate: Basic\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"
    b"Content-Length: 5\r\n\r\nhello"
)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"), "somebody else")


def shown(authority: Authority, *hosts: str, expired: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue(*hosts, expired=expired).files())
    return context


def noting(url: str, **options: Any) -> ClientFactory:
    return ClientFactory(url, NotingClient, **options)


async def failure_of(connecting: Any) -> Any:
    """Return the exception that *connecting* fails with."""
    try:
        session = await connecting
    except Exception as error:
        return error
    pytest.fail(f"{session} is open")


async def exchange(session: Any) -> Any:
    """Say hello, and return the answer; then close."""
    session.sendMessage("hello")
    await until(lambda: session.messages)
    session.sendClose()
    await until(lambda: session.closeInfo)
    return session.messages[0]


# The factory.


def test_without_a_protocol_it_says_what_to_do() -> None:
    factory = ClientFactory("ws://localhost/")
    with pytest.raises(InvalidState, match=r"ClientFactory\(url, MyProtocol\), or factory.protocol = MyProtocol"):
        factory._check_protocol()


def test_a_bad_url_or_option_is_an_error_at_once() -> None:
    with pytest.raises(InvalidURL):
        ClientFactory("http://localhost/", NotingClient)
    with pytest.raises(InvalidURL):
        connect("ws://localhost:99999/")
    with pytest.raises(OptionError, match="unknown option 'maxMessageSize'"):
        ClientFactory("ws://localhost/", NotingClient, maxMessageSize=5)


# Connecting.


@on_loops
async def test_connect_gives_the_protocol_once_it_is_open() -> None:
    async with Serving() as server:
        factory = noting(server.url)
        session: Any = await connect(factory.url, factory)
        open_then = (session.isOpen, list(session.names), session in factory.connections)
        answer = await exchange(session)

    assert open_then == (True, ["onConnecting", "onConnect", "onOpen"], True)
    assert answer == "hello"


@on_loops
async def test_without_a_factory_options_are_enough_and_it_has_coroutines() -> None:
    async with Serving(subprotocols=["chat"]) as server:
        async with connect(server.url, subprotocols=["chat"], maxFragments=5, headers={"X-Test": "1"}) as ws:
            agreed = (ws.subprotocol, ws.factory.options.maxFragments)
            await ws.send("hello")
            answer = await ws.recv()
        ended = ws.closeInfo

    assert isinstance(ws, Stream)
    assert (agreed, answer) == (("chat", 5), "hello")
    assert ended is not None
    assert ended.wasClean


@on_loops
async def test_a_factory_works_with_create_connection() -> None:
    async with Serving() as server:
        factory = noting(server.url)
        _, session = await asyncio.get_running_loop().create_connection(factory, "127.0.0.1", server.port)
        await until(lambda: session.isOpen)
        answer = await exchange(session)

    assert answer == "hello"


@on_loops
async def test_a_factory_works_with_create_unix_connection(tmp_path: Path) -> None:
    async with Serving(where=f"ws+unix://{tmp_path}/x.sock:/"):
        factory = noting("ws://localhost/")
        _, session = await asyncio.get_running_loop().create_unix_connection(factory, f"{tmp_path}/x.sock")
        await until(lambda: session.isOpen)
        peer = session.peer
        answer = await exchange(session)

    assert (answer, peer) == ("hello", "unix")


@on_loops
async def test_it_connects_to_a_unix_socket(tmp_path: Path) -> None:
    async with Serving(where=f"ws+unix://{tmp_path}/x.sock:/path"):
        factory = noting(f"ws+unix://{tmp_path}/x.sock:/path")
        answer = await exchange(await connect(factory.url, factory))

    assert answer == "hello"


@pytest.mark.skipif(not socket.has_ipv6, reason="IPv6")
@on_loops
async def test_it_connects_to_an_ipv6_literal() -> None:
    async with Serving(where="ws://[::1]:0/") as server:
        factory = noting(server.url)
        session: Any = await connect(factory.url, factory)
        peer = session.peer
        answer = await exchange(session)

    assert (answer, peer) == ("hello", f"[::1]:{server.port}")


# TLS.


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@on_loops
async def test_wss_verifies_the_certificate_and_the_name(authority: Authority, host: str) -> None:
    async with Serving(where="wss://127.0.0.1:0/", tls=shown(authority, host)) as server:
        factory = noting(f"wss://{host}:{server.port}/", tls=TLS(trustRoots=str(authority.path)))
        session: Any = await connect(factory.url, factory)
        answer = await exchange(session)

    assert answer == "hello"
    assert session.calls[-1] == ("onClose", True, 1000, "")


@pytest.mark.parametrize(
    ("certificate", "says"),
    [
        (lambda authority, stranger: shown(stranger, "localhost"), "unable to get local issuer certificate"),
        (lambda authority, stranger: shown(authority, "example.com"), "certificate is not valid for 'localhost'"),
        (lambda authority, stranger: shown(authority, "localhost", expired=True), "certificate has expired"),
    ],
)
@on_loops
async def test_a_certificate_that_is_no_good_is_a_connect_error_that_says_why(
    authority: Authority, stranger: Authority, certificate: Callable[..., Any], says: str
) -> None:
    """No request is sent to somebody who is not who they should be."""
    async with Serving(where="wss://127.0.0.1:0/", tls=certificate(authority, stranger)) as server:
        factory = noting(f"wss://localhost:{server.port}/", tls=TLS(trustRoots=str(authority.path)))
        error = await failure_of(connect(factory.url, factory))
        asked = [name for session in server.sessions for name in session.names]

    assert type(error) is ConnectError
    assert says in str(error)
    assert error.__cause__ is not None
    assert asked == []
    assert dict(factory.counters.failed) == {CloseCause.CONNECT_FAILED: 1}


@on_loops
async def test_by_default_only_the_systems_authorities_are_trusted(authority: Authority) -> None:
    async with Serving(where="wss://127.0.0.1:0/", tls=shown(authority, "localhost")) as server:
        error = await failure_of(connect(f"wss://localhost:{server.port}/"))

    assert type(error) is ConnectError
    assert "certificate verify failed" in str(error)


@on_loops
async def test_without_verification_anybody_is_believed(stranger: Authority) -> None:
    async with Serving(where="wss://127.0.0.1:0/", tls=shown(stranger, "example.com", expired=True)) as server:
        factory = noting(server.url, tls=TLS(verify=False))
        answer = await exchange(await connect(factory.url, factory))

    assert answer == "hello"


@on_loops
async def test_a_server_that_does_not_speak_tls_is_a_connect_error() -> None:
    class Plain(Raw):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.wire.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with Playing(Plain) as server:
        error = await failure_of(connect(f"wss://127.0.0.1:{server.port}/", tls=TLS(verify=False)))

    assert type(error) is ConnectError
    assert "SSL" in str(error)


@on_loops
async def test_a_server_that_leaves_during_the_tls_handshake_is_a_connect_error() -> None:
    class Leaving(Raw):
        def data_received(self, data: bytes) -> None:
            self.wire.close()

    async with Playing(Leaving) as server:
        error = await failure_of(connect(f"wss://127.0.0.1:{server.port}/", tls=TLS(verify=False)))

    assert type(error) is ConnectError
    assert "closed during the TLS handshake" in str(error)


@on_loops
async def test_tls_that_cannot_be_used_is_a_connect_error_that_names_the_file() -> None:
    error = await failure_of(connect("wss://127.0.0.1:1/", tls=TLS(trustRoots="/none/such.pem")))
    shows = await failure_of(connect("wss://127.0.0.1:1/", tls=TLS(certificate="/none/such.pem")))

    assert (type(error), type(shows)) == (ConnectError, ConnectError)
    assert "trustRoots='/none/such.pem' cannot be read" in str(error)
    assert "certificate='/none/such.pem' or key=None cannot be read" in str(shows)


@on_loops
async def test_a_large_message_and_a_backlog_pass_through_tls(authority: Authority) -> None:
    class Generous(NotingServer):
        def onMessage(self, payload: bytes, isBinary: bool) -> None:
            for _ in range(20):
                self.sendMessage(payload, isBinary)
            self.sendClose(3000, "enough")

    async with Serving(Generous, "wss://127.0.0.1:0/", shown(authority, "127.0.0.1")) as server:
        factory = noting(server.url, tls=TLS(trustRoots=str(authority.path)))
        session: Any = await connect(factory.url, factory)
        payload = bytes(range(256)) * 1000
        session.sendMessage(payload, isBinary=True)
        await until(lambda: session.closeInfo)

    assert session.messages == [payload] * 20
    assert session.calls[-1] == ("onClose", True, 3000, "enough")


# Refusals, and what never comes.


@on_loops
async def test_a_refusal_carries_status_headers_and_body() -> None:
    async with Playing(lambda: Answering(UNAUTHORIZED)) as server:
        factory = noting(f"ws://127.0.0.1:{server.port}/")
        error = await failure_of(connect(factory.url, factory))

    assert type(error) is HandshakeError
    assert (error.status, error.reason, error.body) == (401, "Who are you", b"hello")
    assert Headers(error.headers).get_all("Set-Cookie") == ["a=1", "b=2"]
    assert str(error) == "the server answered 401 Who are you"


@on_loops
async def test_nobody_there_is_a_connect_error(tmp_path: Path) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        refused = await failure_of(connect(f"ws://user:secret@127.0.0.1:{unheard.getsockname()[1]}/"))
    unknown = await failure_of(connect("ws://no-such-name.invalid/"))
    missing = await failure_of(connect(f"ws+unix://{tmp_path}/none.sock"))

    assert [type(error) for error in (refused, unknown, missing)] == [ConnectError] * 3
    assert "Connection refused: 127.0.0.1 port" in str(refused)
    assert "secret" not in str(refused)
    assert "no-such-name.invalid" in str(unknown)


@pytest.mark.parametrize("scheme", ["ws", "wss"])
@on_loops
async def test_a_server_that_says_nothing_is_a_handshake_timeout(scheme: str) -> None:
    async with Playing() as server:
        url = f"{scheme}://127.0.0.1:{server.port}/"
        error = await failure_of(connect(url, tls=TLS(verify=False), openHandshakeTimeout=0.05))

    assert type(error) is HandshakeTimeout
    assert str(error) == "not open within 0.05 s"


# Redirects.


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@on_loops
async def test_redirects_are_followed(status: int) -> None:
    async with Serving() as there:
        answer = f"HTTP/1.1 {status} Elsewhere\r\nLocation: {there.url}\r\nContent-Length: 0\r\n\r\n".encode()
        async with Playing(lambda: Answering(answer)) as here:
            factory = noting(f"ws://127.0.0.1:{here.port}/here")
            said = await exchange(await connect(factory.url, factory))

    assert said == "hello"


@pytest.mark.parametrize(("allowed", "hops"), [(0, 1), (2, 3)])
@on_loops
async def test_redirects_come_to_an_end(allowed: int, hops: int) -> None:
    again = b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n"
    async with Playing(lambda: Answering(again)) as server:
        factory = noting(f"ws://127.0.0.1:{server.port}/", maxRedirects=allowed)
        error = await failure_of(connect(factory.url, factory))
        heard = len(server.raws)

    assert (type(error), error.status) == (HandshakeError, 302)
    assert heard == hops


# Callbacks.


def _plain(session: Any, payload: bytes) -> None:
    session.done.append(payload)


async def _coroutine(session: Any, payload: bytes) -> None:
    await asyncio.sleep(0)
    session.done.append(payload)


def _future(session: Any, payload: bytes) -> Any:
    future = asyncio.get_running_loop().create_future()
    future.add_done_callback(lambda _: session.done.append(payload))
    asyncio.get_running_loop().call_soon(future.set_result, None)
    return future


@pytest.mark.parametrize("callback", [_plain, _coroutine, _future])
@on_loops
async def test_messages_are_handled_in_order_one_at_a_time(callback: Callable[[Any, bytes], Any]) -> None:
    """Whatever onMessage is or returns; the loss of the connection waits for it."""
    expected = [b"%d" % number for number in range(100)]

    class Working(NotingServer):
        def __init__(self) -> None:
            super().__init__()
            self.done: list[bytes] = []

        def onMessage(self, payload: bytes, isBinary: bool) -> Any:
            return callback(self, payload)

        def onClose(self, wasClean: bool, code: int, reason: str) -> None:
            self.done.append(b"closed")

    async with Serving(Working) as server:
        async with connect(server.url) as ws:
            for payload in expected:
                await ws.send(payload)
        session = await server.session()
        await until(lambda: session.done[-1:] == [b"closed"])

    assert session.done == [*expected, b"closed"]


def _raise(session: Any, payload: bytes) -> None:
    raise RuntimeError("on purpose")


async def _raise_later(session: Any, payload: bytes) -> None:
    await asyncio.sleep(0)
    raise RuntimeError("on purpose")


@pytest.mark.parametrize("callback", [_raise, _raise_later])
@on_loops
async def test_what_on_message_raises_closes_with_1011(callback: Callable[[Any, bytes], Any]) -> None:
    class Failing(NotingServer):
        def onMessage(self, payload: bytes, isBinary: bool) -> Any:
            return callback(self, payload)

    async with Serving(Failing) as server:
        factory = noting(server.url)
        client: Any = await connect(factory.url, factory)
        client.sendMessage("hello")
        await until(lambda: client.closeInfo)

    assert client.closeInfo.code == 1011
    assert "on purpose" not in client.closeInfo.reason


# Giving up.


@pytest.mark.parametrize("turns", range(12))
@pytest.mark.parametrize("secure", [False, True], ids=["tcp", "tls"])
@on_loops
async def test_cancelling_connect_at_any_moment_leaves_nothing(authority: Authority, secure: bool, turns: int) -> None:
    """No socket, no task, no deadline, no session: whatever stage it was at."""
    where = "wss://localhost:0/" if secure else "ws://localhost:0/"
    async with Serving(where=where, tls=shown(authority, "localhost") if secure else None) as server:
        factory = noting(server.url, tls=TLS(trustRoots=str(authority.path)))

        async def connecting() -> Any:
            return await connect(factory.url, factory)

        attempt = asyncio.create_task(connecting())
        for _ in range(turns):
            await asyncio.sleep(0)
        attempt.cancel()
        with suppress(asyncio.CancelledError):
            (await attempt).dropConnection(abort=True)
        await until(lambda: not factory.openings and not factory.connections)


@pytest.mark.parametrize("scheme", ["ws", "wss"])
@on_loops
async def test_cancelling_connect_to_a_server_that_says_nothing_closes_its_socket(scheme: str) -> None:
    async with Playing() as server:
        factory = noting(f"{scheme}://127.0.0.1:{server.port}/", tls=TLS(verify=False))

        async def connecting() -> Any:
            return await connect(factory.url, factory)

        attempt = asyncio.create_task(connecting())
        await until(lambda: server.raws and server.raws[0].received)
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt
        await until(lambda: server.raws[0].lost or server.raws[0].eof)

    assert not factory.openings
    assert factory.counters.opened == 0


@on_loops
async def test_cancelling_connect_while_on_connecting_thinks_cancels_that() -> None:
    ended: list[str] = []

    class Thinking(NotingClient):
        async def onConnecting(self, details: Any) -> None:
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                ended.append("cancelled")

    factory = ClientFactory("ws://127.0.0.1:1/", Thinking)

    async def connecting() -> Any:
        return await connect(factory.url, factory)

    attempt = asyncio.create_task(connecting())
    await until(lambda: factory.openings)
    await asyncio.sleep(0)
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    await until(lambda: ended)

    assert ended == ["cancelled"]


@on_loops
async def test_a_protocol_of_ones_own_echoes() -> None:
    """The ten lines of the documentation."""
    async with Serving(Echo) as server, connect(server.url) as ws:
        await ws.send(b"\0\1")
        assert await ws.recv() == b"\0\1"
