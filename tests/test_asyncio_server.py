"""The server's side on asyncio: listen, create_server, serve, shutting down; a thousand connections leave nothing."""

from __future__ import annotations

import asyncio
import gc
import ssl
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Authority
from tests.loops import Echo, NotingClient, NotingServer, Raw, Serving, on_loops, sockets, until
from wsfactory import TLS, ConnectError, ConnectionClosed, HandshakeError, InvalidURL, OptionError
from wsfactory.asyncio import ClientFactory, ServerFactory, connect, listen, serve
from wsfactory.asyncio.transport import flavour_for
from wsfactory.session import Session
from wsfactory.testing import upgrade_request

THOUSAND = 1000
AT_ONCE = 50


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def shown(authority: Authority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("127.0.0.1").files())
    return context


async def echo(ws: Any) -> None:
    async for message in ws:
        await ws.send(message)


async def answer_at(url: str, **options: Any) -> Any:
    async with connect(url, **options) as ws:
        await ws.send("hello")
        return await ws.recv()


# Where it listens.


@on_loops
async def test_a_factory_works_with_create_server() -> None:
    factory = ServerFactory(Echo)
    server = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0)
    answer = await answer_at(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    server.close()
    await factory.shutdown()

    assert answer == "hello"


@on_loops
async def test_a_factory_works_with_create_unix_server(tmp_path: Path) -> None:
    factory = ServerFactory(Echo)
    server = await asyncio.get_running_loop().create_unix_server(factory, f"{tmp_path}/x.sock")
    answer = await answer_at(f"ws+unix://{tmp_path}/x.sock:/")
    server.close()
    await factory.shutdown()

    assert answer == "hello"


@on_loops
async def test_listen_with_tls(authority: Authority) -> None:
    async with Serving(where="wss://127.0.0.1:0/", tls=shown(authority)) as server:
        answer = await answer_at(server.url, tls=TLS(trustRoots=str(authority.path)))

    assert answer == "hello"


@on_loops
async def test_listen_says_what_is_wrong() -> None:
    factory = ServerFactory(Echo)
    with pytest.raises(InvalidURL):
        await listen("tcp:9000", factory)
    with pytest.raises(OptionError, match=r"ssl\.SSLContext"):
        await listen("wss://127.0.0.1:0/", factory)
    async with Serving() as server:
        with pytest.raises(OSError, match="in use"):
            await listen(server.url, factory)


@on_loops
async def test_shutdown_closes_the_port_and_every_connection() -> None:
    async with Serving() as server:
        factory = ClientFactory(server.url, NotingClient)
        clients: list[Any] = [await connect(server.url, factory) for _ in range(3)]
        aborted = await server.factory.shutdown()
        await until(lambda: all(client.closeInfo for client in clients))
        with pytest.raises((ConnectError, HandshakeError)):
            await connect(server.url)

    assert aborted == []
    assert [client.closeInfo.code for client in clients] == [1001] * 3


# serve.


@on_loops
async def test_serve_runs_a_coroutine_per_connection() -> None:
    async with serve(echo, maxFragments=5) as server:
        answers = await asyncio.gather(*[answer_at(f"ws://127.0.0.1:{server.port}/") for _ in range(5)])

    assert answers == ["hello"] * 5
    assert server.factory.options.maxFragments == 5


@on_loops
async def test_serve_at_a_unix_socket_and_with_tls(authority: Authority, tmp_path: Path) -> None:
    async with serve(echo, path=f"{tmp_path}/x.sock"):
        plain = await answer_at(f"ws+unix://{tmp_path}/x.sock:/")
    async with serve(echo, tls=shown(authority)) as server:
        url = f"wss://127.0.0.1:{server.port}/"
        secure = await answer_at(url, tls=TLS(trustRoots=str(authority.path)))

    assert (plain, secure) == ("hello", "hello")


@pytest.mark.parametrize(("raises", "code"), [(False, 1000), (True, 1011)])
@on_loops
async def test_the_connection_ends_with_its_handler(raises: bool, code: int) -> None:
    async def once(ws: Any) -> None:
        await ws.recv()
        if raises:
            raise RuntimeError("on purpose")

    async with serve(once) as server, connect(f"ws://127.0.0.1:{server.port}/") as ws:
        await ws.send("hello")
        with pytest.raises(ConnectionClosed):
            await ws.recv()
        await ws.wait_closed()

    assert ws.closeInfo is not None
    assert ws.closeInfo.code == code


@on_loops
async def test_a_handler_hears_of_the_shutdown_and_is_cancelled_at_its_timeout() -> None:
    heard: list[Any] = []

    async def deaf(ws: Any) -> None:
        try:
            await ws.recv()
        except ConnectionClosed as error:
            heard.append(error)
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            heard.append("cancelled")
            raise

    async with serve(deaf) as server:
        ws = await connect(f"ws://127.0.0.1:{server.port}/")
        await until(lambda: server.factory.connections)
        server.close(timeout=0.05)
        await server.wait_closed()
        await ws.close()
        await until(lambda: len(heard) == 2)

    assert heard[0].closeInfo.localCode in (1001, None)
    assert heard[1] == "cancelled"


# What is left.


async def use(url: str, number: int) -> None:
    """Open, use and end one connection: in order, aborted, or cancelled somewhere on the way."""
    if number % 3 == 0:
        await answer_at(url)
        return
    attempt = asyncio.ensure_future(answer_at(url)) if number % 3 == 1 else None
    if attempt is not None:
        for _ in range(number % 40):
            await asyncio.sleep(0)
        attempt.cancel()
        await asyncio.gather(attempt, return_exceptions=True)
        return
    ws = await connect(url)
    await ws.send("hello")
    ws.dropConnection(abort=True)


@on_loops
async def test_nothing_is_left_of_a_thousand_connections() -> None:
    """A third of them cancelled, a third aborted: no object of ours, no deadline, no task, no descriptor."""
    async with Serving(Echo) as server:
        await answer_at(server.url)
        before = sockets()
        for start in range(0, THOUSAND, AT_ONCE):
            await asyncio.gather(*[use(server.url, number) for number in range(start, start + AT_ONCE)])
        server.sessions.clear()
        await until(lambda: not server.factory.connections and not server.factory.openings)
        await until(lambda: not len(flavour_for(asyncio.get_running_loop()).wheel))
        await until(lambda: sockets() <= before)
        server.sessions.clear()
        gc.collect()
        left = [thing for thing in gc.get_objects() if isinstance(thing, Session) and thing.factory is server.factory]

    assert server.factory.counters.opened > THOUSAND // 3
    assert left == []


@on_loops
async def test_a_client_that_leaves_amid_the_handshake_leaves_nothing() -> None:
    async with Serving(NotingServer) as server:
        loop = asyncio.get_running_loop()
        for cut in range(1, len(upgrade_request()), 20):
            _, raw = await loop.create_connection(Raw, "127.0.0.1", server.port)
            raw.wire.write(upgrade_request()[:cut])
            await server.session()
            raw.wire.abort()
        await until(lambda: not server.factory.openings)

    assert server.factory.counters.opened == 0
