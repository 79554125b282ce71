"""Through an HTTP proxy on asyncio: CONNECT first, in the clear or in TLS, then ws or wss inside."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import Any

import pytest

from tests.certificates import Authority
from tests.loops import NotingClient, Playing, Raw, Serving, on_loops, until
from wsfactory import TLS, ConnectError, HandshakeTimeout
from wsfactory.asyncio import ClientFactory, connect


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def shown(authority: Authority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("127.0.0.1").files())
    return context


class Proxy(Raw):
    """Makes the tunnel that it is asked for; ``heard`` is the request."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = b""
        self._far: Any = None

    def data_received(self, data: bytes) -> None:
        if self._far is not None:
            self._far.wire.write(data)
            return
        super().data_received(data)
        if b"\r\n\r\n" in self.received and not self.heard:
            self.heard = self.received
            self._task = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        host, _, port = self.heard.split(b" ")[1].decode().rpartition(":")
        _, self._far = await asyncio.get_running_loop().create_connection(lambda: Far(self), host, int(port))
        self.wire.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

    def eof_received(self) -> bool:
        super().eof_received()
        if self._far is not None:
            self._far.wire.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._far is not None:
            self._far.wire.abort()


class Far(Raw):
    """The proxy's connection to the server."""

    def __init__(self, near: Proxy) -> None:
        super().__init__()
        self._near = near

    def data_received(self, data: bytes) -> None:
        self._near.wire.write(data)

    def eof_received(self) -> bool:
        self._near.wire.close()
        return True


def saying(answer: bytes) -> Any:
    """Return what makes a proxy that answers every request with *answer*."""

    class Refusing(Raw):
        def data_received(self, data: bytes) -> None:
            self.wire.write(answer)

    return Refusing


async def failure_of(connecting: Any) -> Any:
    try:
        session = await connecting
    except Exception as error:
        return error
    pytest.fail(f"{session} is open")


@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
@on_loops
async def test_a_connection_through_a_proxy(authority: Authority, secure: bool) -> None:
    """The proxy is asked for host and port with its own credentials; inside is ws, or verified TLS."""
    where, certificate = ("wss://127.0.0.1:0/", shown(authority)) if secure else ("ws://127.0.0.1:0/", None)
    async with Serving(where=where, tls=certificate) as server, Playing(Proxy) as proxy:
        trusted = TLS(trustRoots=str(authority.path))
        via = f"http://user:pass@127.0.0.1:{proxy.port}"
        factory = ClientFactory(server.url, NotingClient, tls=trusted, proxy=via)
        session: Any = await connect(server.url, factory)
        session.sendMessage("hello")
        await until(lambda: session.messages)
        session.sendClose()
        await until(lambda: session.closeInfo)
        heard: Any = proxy.raws[0]

    assert session.messages == ["hello"]
    assert session.closeInfo.wasClean
    assert heard.heard.startswith(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n" % server.port)
    assert b"Proxy-Authorization: Basic dXNlcjpwYXNz\r\n" in heard.heard


@on_loops
async def test_tls_inside_the_tunnel_is_verified(authority: Authority) -> None:
    async with Serving(where="wss://127.0.0.1:0/", tls=shown(authority)) as server, Playing(Proxy) as proxy:
        error = await failure_of(connect(server.url, proxy=f"http://127.0.0.1:{proxy.port}"))

    assert type(error) is ConnectError
    assert "certificate verify failed" in str(error)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407"),
        (b"nonsense\r\n\r\n", "the proxy refused"),
    ],
)
@on_loops
async def test_a_proxy_that_refuses_is_a_connect_error(answer: bytes, says: str) -> None:
    async with Playing(saying(answer)) as proxy:
        error = await failure_of(connect("ws://192.0.2.1/", proxy=f"http://127.0.0.1:{proxy.port}"))

    assert type(error) is ConnectError
    assert says in str(error)


@on_loops
async def test_a_proxy_that_says_nothing_is_a_handshake_timeout() -> None:
    async with Playing() as proxy:
        via = f"http://127.0.0.1:{proxy.port}"
        error = await failure_of(connect("ws://192.0.2.1/", proxy=via, openHandshakeTimeout=0.05))

    assert type(error) is HandshakeTimeout


@on_loops
async def test_a_proxy_that_leaves_is_a_connect_error() -> None:
    class Leaving(Raw):
        def data_received(self, data: bytes) -> None:
            self.wire.close()

    async with Playing(Leaving) as proxy:
        error = await failure_of(connect("ws://192.0.2.1/", proxy=f"http://127.0.0.1:{proxy.port}"))

    assert type(error) is ConnectError
    assert "the proxy closed the connection" in str(error)


@pytest.mark.parametrize("turns", [*range(2, 20, 2), 30, 60])
@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
@on_loops
async def test_cancelling_at_any_moment_leaves_nothing(authority: Authority, secure: bool, turns: int) -> None:
    where, certificate = ("wss://127.0.0.1:0/", shown(authority)) if secure else ("ws://127.0.0.1:0/", None)
    async with Serving(where=where, tls=certificate) as server, Playing(Proxy) as proxy:
        trusted = TLS(trustRoots=str(authority.path))
        factory = ClientFactory(server.url, NotingClient, tls=trusted, proxy=f"http://127.0.0.1:{proxy.port}")

        async def connecting() -> Any:
            return await connect(server.url, factory)

        attempt = asyncio.create_task(connecting())
        for _ in range(turns):
            await asyncio.sleep(0)
        attempt.cancel()
        with suppress(asyncio.CancelledError):
            (await attempt).dropConnection(abort=True)
        await until(lambda: not factory.openings and not factory.connections)
        await until(lambda: all(raw.eof for raw in proxy.raws))
