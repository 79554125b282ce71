"""The coroutine API over real sockets: one text for Twisted, asyncio and uvloop."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Self

import pytest

from tests.flavours import Flavour, on_asyncio, on_every_flavour
from wsfactory.asyncio import serve
from wsfactory.errors import ConnectError, ConnectionClosed, ConnectionDeny, HandshakeError, OptionError
from wsfactory.stream import Stream


class Server:
    """Serves with *handler* on a free port: ``async with Server(on, handler) as server``."""

    def __init__(self, on: Flavour, handler: Any = None, factory: Any = None, **options: Any) -> None:
        self._on = on
        self.factory = factory or on.ServingFactory(handler, **options)
        self.url = ""

    async def __aenter__(self) -> Self:
        listening = await self._on.listen("ws://127.0.0.1:0/", self.factory)
        self.url = f"ws://127.0.0.1:{self._on.port_of(listening)}/"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.factory.shutdown()
        await self.factory.shutdown()


async def echo(ws: Stream) -> None:
    async for message in ws:
        await ws.send(message)


@on_every_flavour
async def test_text_and_binary_go_round(on: Flavour) -> None:
    async with Server(on, echo) as server:
        ws = await on.connect(server.url)
        got = []
        for message in "grüße", b"\xff\x00", "", b"":
            await ws.send(message)
            got.append(await ws.recv())
        await ws.close()

    assert got == ["grüße", b"\xff\x00", "", b""]
    assert ws.closeInfo.wasClean
    assert ws.closeInfo.code == 1000


@on_every_flavour
async def test_async_for_ends_when_the_handler_returns(on: Flavour) -> None:
    async def count(ws: Stream) -> None:
        for number in range(1000):
            await ws.send(str(number))

    async with Server(on, count) as server:
        ws = await on.connect(server.url)
        got = [message async for message in ws]

    assert got == [str(number) for number in range(1000)]


@on_every_flavour
async def test_async_with_closes_a_connection(on: Flavour) -> None:
    async with Server(on, echo) as server, await on.connect(server.url) as ws:
        await ws.send("hello")
        answer = await ws.recv()

    assert answer == "hello"
    assert ws.closeInfo.wasClean


@on_every_flavour
async def test_a_ping_measures_the_latency(on: Flavour) -> None:
    async with Server(on, echo) as server:
        ws = await on.connect(server.url)
        before = ws.latency
        seconds = await ws.ping()
        await ws.close()

    assert before is None
    assert ws.latency == seconds > 0


@on_every_flavour
async def test_a_subprotocol_and_headers_are_negotiated(on: Flavour) -> None:
    async def tell(ws: Any) -> None:
        await ws.send(str(ws.subprotocol))

    async with Server(on, tell, subprotocols=["b", "a"], headers={"X-Served-By": "us"}) as server:
        ws = await on.connect(server.url, subprotocols=["a", "b"], headers={"X-Token": "secret"})
        said = await ws.recv()
        await ws.close()

    assert (said, ws.subprotocol) == ("b", "b")


@on_every_flavour
async def test_a_slow_reader_holds_its_peer_back_and_loses_nothing(on: Flavour) -> None:
    total = 300
    sent = []

    async def pour(ws: Stream) -> None:
        for number in range(total):
            await ws.send(number.to_bytes(4, "big") * 16 * 1024)
            sent.append(number)

    async with Server(on, pour) as server:
        ws = await on.connect(server.url, maxQueue=2, readLimit=16 * 1024)
        await ws.recv()
        for _ in range(500):
            await on.turn()
        held_at = len(sent)
        rest = [int.from_bytes(message[:4], "big") async for message in ws]

    assert held_at < total
    assert rest == list(range(1, total))


@on_every_flavour
async def test_a_handler_that_raises_closes_with_1011(on: Flavour) -> None:
    async def fail(ws: Stream) -> None:
        raise ConnectionClosed("of some other connection")

    async with Server(on, fail) as server:
        ws = await on.connect(server.url)
        with pytest.raises(ConnectionClosed) as raised:
            await ws.recv()
        await ws.wait_closed()

    assert raised.value.closeInfo is not None
    assert raised.value.closeInfo.code == 1011


@on_every_flavour
async def test_a_handler_that_never_reads_ends_when_the_client_leaves(on: Flavour) -> None:
    ended = []

    async def deaf(ws: Any) -> None:
        await ws.wait_closed()
        ended.append(ws.closeInfo)

    async with Server(on, deaf) as server:
        ws = await on.connect(server.url)
        await ws.send("never read")
        ws.dropConnection(abort=True)
        await on.until(lambda: ended)

    assert ended[0].code == 1006


@on_every_flavour
async def test_a_client_that_closes_is_gone_though_the_handler_never_reads(on: Flavour) -> None:
    async def deaf(ws: Stream) -> None:
        await ws.wait_closed()

    async with Server(on, deaf) as server:
        ws = await on.connect(server.url)
        await ws.send("never read")
        await ws.close(3000)

    assert ws.closeInfo.wasClean


@on_every_flavour
async def test_shutting_down_a_server_makes_busy_handlers_raise(on: Flavour) -> None:
    infos = []

    async def busy(ws: Stream) -> None:
        await ws.send("here")
        try:
            await ws.recv()
        except ConnectionClosed as error:
            infos.append(error.closeInfo)
            raise

    async with Server(on, busy) as server:
        clients = [await on.connect(server.url) for _ in range(5)]
        for ws in clients:
            await ws.recv()
        done = server.factory.shutdown()
        for ws in clients:
            await ws.wait_closed()
        left = await done

    assert left == []
    assert [info.code for info in infos if info] == [1001] * 5
    assert {ws.closeInfo.code for ws in clients} == {1001}


@on_every_flavour
async def test_a_handler_that_hangs_is_cancelled_by_the_second_shutdown(on: Flavour) -> None:
    ended = []

    async def hang(ws: Stream) -> None:
        await ws.send("here")
        try:
            while True:
                await on.turn()
        finally:
            ended.append(ws)

    async with Server(on, hang) as server:
        ws = await on.connect(server.url)
        await ws.recv()
        server.factory.shutdown()
        await server.factory.shutdown()
        await on.until(lambda: ended)
        await ws.wait_closed()

    assert len(ended) == 1


# Cancelling.


async def gave_up(on: Flavour, task: Any) -> None:
    task.cancel()
    with pytest.raises(on.cancelled):
        await task


@on_every_flavour
async def test_cancelling_recv_loses_no_message(on: Flavour) -> None:
    async with Server(on, echo) as server:
        ws = await on.connect(server.url)
        got = []
        for number in range(50):
            waiting = on.start(ws.recv())
            await ws.send(str(number))
            for _ in range(number % 7):
                await on.turn()
            waiting.cancel()
            try:
                got.append(await waiting)
            except on.cancelled:
                got.append(await ws.recv())
        await ws.close()

    assert got == [str(number) for number in range(50)]


@on_every_flavour
async def test_cancelling_recv_in_the_tick_in_which_a_message_arrives_loses_it_not(on: Flavour) -> None:
    async with Server(on, echo) as server:
        ws = await on.connect(server.url)
        waiting = on.start(ws.recv())
        await on.turn()
        arrived = ws._ws_arrived

        def arrive_and_cancel(*message: Any) -> None:
            arrived(*message)
            waiting.cancel()

        cls = type(ws)
        original, cls._ws_arrived = cls._ws_arrived, lambda self, *message: arrive_and_cancel(*message)
        try:
            await ws.send("kept")
            try:
                got = await waiting
            except on.cancelled:
                got = await ws.recv()
        finally:
            cls._ws_arrived = original
        await ws.close()

    assert got == "kept"


@on_every_flavour
async def test_cancelling_connect_while_dialling_leaves_nothing(on: Flavour) -> None:
    async with Server(on, echo) as server:

        async def dial() -> Any:
            return await on.connect(server.url)

        await gave_up(on, on.start(dial()))

    assert server.factory.counters.opened == 0


@on_every_flavour
async def test_cancelling_connect_while_asked_leaves_nothing(on: Flavour) -> None:
    asked = []

    class Pondering(on.ClientStream):  # type: ignore[name-defined]
        async def onConnecting(self, details: object) -> None:
            asked.append(self)
            while True:
                await on.turn()

    async with Server(on, echo) as server:
        factory = on.ClientFactory(server.url, Pondering)

        async def dial() -> Any:
            return await on.connect(server.url, factory)

        task = on.start(dial())
        await on.until(lambda: asked)
        await gave_up(on, task)
        await on.until(lambda: not factory.openings and not factory._leaving)

    assert server.factory.counters.opened == 0


@on_every_flavour
async def test_cancelling_connect_during_the_handshake_leaves_nothing(on: Flavour) -> None:
    asked = []

    class Pondering(on.ServerProtocol):  # type: ignore[name-defined]
        async def onConnect(self, request: object) -> None:
            asked.append(self)
            while True:
                await on.turn()

    async with Server(on, factory=on.ServerFactory(Pondering)) as server:

        async def dial() -> Any:
            return await on.connect(server.url)

        task = on.start(dial())
        await on.until(lambda: asked)
        await gave_up(on, task)
        await on.until(lambda: not server.factory.openings and not server.factory._leaving)

    assert server.factory.counters.opened == 0


@on_every_flavour
async def test_cancelling_connect_while_on_connect_ponders_leaves_nothing(on: Flavour) -> None:
    asked = []

    class Pondering(on.ClientStream):  # type: ignore[name-defined]
        async def onConnect(self, response: object) -> None:
            asked.append(self)
            while True:
                await on.turn()

    async with Server(on, echo) as server:
        factory = on.ClientFactory(server.url, Pondering)

        async def dial() -> Any:
            return await on.connect(server.url, factory)

        task = on.start(dial())
        await on.until(lambda: asked)
        await gave_up(on, task)
        await on.until(lambda: not factory.openings and not factory._leaving)
        await on.until(lambda: not server.factory.connections)

    assert factory.counters.opened == 0


# Failing.


@on_every_flavour
async def test_a_refusal_is_a_handshake_error_with_status_and_body(on: Flavour) -> None:
    class Refusing(on.ServerProtocol):  # type: ignore[name-defined]
        def onConnect(self, request: object) -> None:
            raise ConnectionDeny(403, "Forbidden", body="not you")

    async with Server(on, factory=on.ServerFactory(Refusing)) as server:
        with pytest.raises(HandshakeError) as raised:
            await on.connect(server.url)

    assert (raised.value.status, raised.value.body) == (403, b"not you")


@on_every_flavour
async def test_nobody_listening_is_a_connect_error(on: Flavour) -> None:
    async with Server(on, echo) as server:
        pass
    with pytest.raises(ConnectError, match=r"cannot connect to ws://127\.0\.0\.1"):
        await on.connect(server.url)


@on_every_flavour
async def test_a_bad_option_is_told_at_once(on: Flavour) -> None:
    with pytest.raises(OptionError, match="maxQeue"):
        on.connect("ws://127.0.0.1:1/", maxQeue=3)
    with pytest.raises(OptionError, match="maxQeue"):
        on.ServingFactory(echo, maxQeue=3)


# ``serve`` and ``async with connect(...)`` are asyncio's: Twisted has listen(where, ServingFactory(...)) and Deferreds.


@on_asyncio
async def test_serve_and_connect_as_asyncio_users_write_them(on: Flavour) -> None:
    async with serve(echo, "127.0.0.1", 0) as server, on.connect(f"ws://127.0.0.1:{server.port}/") as ws:
        await ws.send("hello")
        answer = await ws.recv()

    assert answer == "hello"
    assert ws.closeInfo.wasClean
    assert not server.factory.connections


@on_asyncio
async def test_serve_can_be_awaited_and_closed_later(on: Flavour) -> None:
    server = await serve(echo)
    address = server.sockets[0].getsockname()  # type: ignore[attr-defined]
    ws = await on.connect(f"ws://{address[0]}:{server.port}/")
    server.close()
    await server.wait_closed()
    await ws.wait_closed()

    assert ws.closeInfo.code == 1001
    with pytest.raises(ConnectError):
        await on.connect(f"ws://{address[0]}:{address[1]}/")


@on_asyncio
async def test_leaving_async_with_waits_for_what_handlers_do_last(on: Flavour) -> None:
    ended = []

    async def tidy(ws: Stream) -> None:
        try:
            await echo(ws)
        finally:
            await asyncio.sleep(0)
            ended.append(ws)

    async with serve(tidy) as server:
        await on.connect(f"ws://127.0.0.1:{server.port}/")

    assert len(ended) == 1


@on_asyncio
async def test_closing_within_async_with_is_no_second_close(on: Flavour) -> None:
    """Leaving it waits for the close that was begun, and does not abort what that closes."""
    raised: list[BaseException] = []

    async def waiting(ws: Stream) -> None:
        try:
            await ws.recv()
        except BaseException as error:
            raised.append(error)
            raise

    async with serve(waiting) as server:
        ws = await on.connect(f"ws://127.0.0.1:{server.port}/")
        server.close()
    await ws.wait_closed()

    assert [type(error) for error in raised] == [ConnectionClosed]
    assert ws.closeInfo.code == 1001


@on_asyncio
async def test_a_server_that_was_awaited_does_not_listen_twice(on: Flavour) -> None:
    async with await serve(echo) as server:
        listening = len(server.factory._servers)

    assert listening == 1


@on_asyncio
async def test_an_exception_within_async_with_closes_too(on: Flavour) -> None:
    async with serve(echo) as server:
        with pytest.raises(ZeroDivisionError):
            async with on.connect(f"ws://127.0.0.1:{server.port}/") as ws:
                raise ZeroDivisionError

    assert ws.closeInfo.wasClean


@on_asyncio
async def test_serve_listens_at_a_unix_socket_too(on: Flavour, tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with serve(echo, path=str(path)), on.connect(f"ws+unix://{path}:/") as ws:
        await ws.send("hello")
        answer = await ws.recv()

    assert answer == "hello"


@on_asyncio
async def test_serve_tells_a_bad_option_at_once(on: Flavour) -> None:
    with pytest.raises(OptionError, match="maxQeue"):
        serve(echo, maxQeue=3)


@on_asyncio
async def test_a_second_close_of_a_server_cancels_busy_handlers_at_once(on: Flavour) -> None:
    ended = []

    async def hang(ws: Stream) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(ws)

    async with serve(hang) as server:
        ws = await on.connect(f"ws://127.0.0.1:{server.port}/")
        server.close()
        server.close()
        await server.wait_closed()
        await ws.wait_closed()

    assert len(ended) == 1
