"""The ``websockets`` library (its asyncio API) as a peer."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from typing import Any

from remote import Refused, Remote, run_on_asyncio, unpacked
from tls_on_asyncio import server_context
from websockets.asyncio.client import connect
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Response


class WebsocketsPeer(Remote):
    """Compression is offered and accepted, as is this library's default; keepalive is off."""

    async def do_listen(
        self, subprotocols: list[str], refuse: dict[str, Any] | None, certificate: list[str] | None
    ) -> dict[str, int]:
        listener = self.new_listener()

        async def serve_one(connection: ServerConnection) -> None:
            await self._read(self.opened(connection, connection.subprotocol, listener), connection)

        def select_subprotocol(_: ServerConnection, offered: Any) -> Any:
            return next((name for name in subprotocols if name in offered), None)

        server = await serve(
            serve_one,
            "127.0.0.1",
            0,
            select_subprotocol=select_subprotocol,
            process_request=lambda _, __: refusal(refuse),
            ssl=server_context(certificate),
            max_size=None,
            ping_interval=None,
        )
        return {"listener": listener, "port": next(iter(server.sockets)).getsockname()[1]}

    async def do_connect(
        self, url: str, subprotocols: Any, origin: Any, headers: list[tuple[str, str]], trust: str | None
    ) -> dict[str, Any]:
        context = ssl.create_default_context(cafile=trust) if url.startswith("wss") else None
        dialling = connect(
            url,
            subprotocols=subprotocols or None,
            origin=origin,
            additional_headers=[(name, value) for name, value in headers],
            ssl=context,
            proxy=None,
            max_size=None,
            ping_interval=None,
        )
        try:
            connection = await dialling
        except InvalidStatus as error:
            response = error.response
            raise Refused(response.status_code, response.headers.raw_items(), bytes(response.body)) from None
        number = self.opened(connection, connection.subprotocol)
        self.keep(self._read(number, connection))
        return {"connection": number, "subprotocol": connection.subprotocol}

    async def _read(self, number: int, connection: Connection) -> None:
        try:
            while True:
                frames: list[Any] = [frame async for frame in connection.recv_streaming()]
                self.message(number, type(frames[0])().join(frames), len(frames))
        except ConnectionClosed:
            await connection.wait_closed()
            self.report(number, "closed", code=connection.close_code, reason=connection.close_reason)

    async def do_send(self, connection: int, payload: dict[str, str]) -> None:
        await self.connections[connection].send(unpacked(payload))

    async def do_fragments(self, connection: int, payloads: list[dict[str, str]], ping: dict[str, str]) -> None:
        """Send one message in fragments, with a Ping behind the first."""
        peer = self.connections[connection]

        async def fragments() -> AsyncIterator[str | bytes]:
            for number, payload in enumerate(payloads):
                if number == 1:
                    await peer.ping(unpacked(ping))
                yield unpacked(payload)

        await peer.send(fragments())

    async def do_ping(self, connection: int, payload: dict[str, str]) -> None:
        await (await self.connections[connection].ping(unpacked(payload)))
        self.report(connection, "pong", payload=payload)

    async def do_close(self, connection: int, code: int | None, reason: str) -> None:
        peer = self.connections[connection]
        if code is None:
            async with peer.send_context():
                peer.protocol.send_close()
        else:
            await peer.close(code, reason)

    async def do_vanish(self, connection: int) -> None:
        self.connections[connection].transport.abort()


def refusal(refuse: dict[str, Any] | None) -> Response | None:
    """Return the answer of a server that refuses."""
    if refuse is None:
        return None
    body = refuse["body"].encode()
    headers = Headers([*map(tuple, refuse["headers"]), ("Content-Length", str(len(body)))])
    return Response(refuse["status"], refuse["reason"], headers, body)


if __name__ == "__main__":
    run_on_asyncio(WebsocketsPeer)
