"""``aiohttp`` as a peer."""

from __future__ import annotations

import ssl
from typing import Any

from aiohttp import ClientSession, WSMsgType, WSServerHandshakeError, web
from remote import Refused, Remote, run_on_asyncio, unpacked
from tls_on_asyncio import server_context

NO_LIMIT = 0


class AiohttpPeer(Remote):
    """Pings are answered here (``autoping`` would hide the Pongs)."""

    def __init__(self) -> None:
        super().__init__()
        self.sessions: dict[int, ClientSession] = {}

    async def do_listen(
        self, subprotocols: list[str], refuse: dict[str, Any] | None, certificate: list[str] | None
    ) -> dict[str, int]:
        listener = self.new_listener()

        async def answer(request: web.Request) -> web.StreamResponse:
            if refuse is not None:
                return refusal(refuse)
            connection = web.WebSocketResponse(protocols=subprotocols, autoping=False, max_msg_size=NO_LIMIT)
            await connection.prepare(request)
            await self._read(self.opened(connection, connection.ws_protocol, listener), connection)
            return connection

        application = web.Application()
        application.router.add_get("/", answer)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_context(certificate)).start()
        return {"listener": listener, "port": runner.addresses[0][1]}

    async def do_connect(
        self, url: str, subprotocols: list[str], origin: str | None, headers: list[list[str]], trust: str | None
    ) -> dict[str, Any]:
        session = ClientSession()
        context = ssl.create_default_context(cafile=trust)
        try:
            connection = await session.ws_connect(
                url,
                protocols=subprotocols,
                origin=origin,
                headers=dict(headers),
                ssl=context,
                autoping=False,
                max_msg_size=NO_LIMIT,
            )
        except WSServerHandshakeError as error:
            await session.close()
            raise Refused(error.status, (error.headers or {}).items()) from None
        except BaseException:
            await session.close()
            raise
        number = self.opened(connection, connection.protocol)
        self.keep(self._read_and_close(number, connection, session))
        return {"connection": number, "subprotocol": connection.protocol}

    async def _read_and_close(self, number: int, connection: Any, session: ClientSession) -> None:
        self.sessions[number] = session
        if await self._read(number, connection):
            await session.close()

    async def _read(self, number: int, connection: Any) -> bool:
        """Report what arrives; False: a ``close`` of ours ended it, and will report."""
        while True:
            message = await connection.receive()
            if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                self.message(number, message.data)
            elif message.type is WSMsgType.PING:
                await connection.pong(message.data)
            elif message.type is WSMsgType.PONG:
                self.report(number, "pong", payload={"text": bytes(message.data).decode()})
            else:
                break
        if message.type is WSMsgType.CLOSING:
            return False
        if message.type is WSMsgType.CLOSE:
            self.report(number, "closed", code=message.data or 1005, reason=message.extra or "")
        else:
            self.report(number, "closed", code=1006, reason="")
        return True

    async def do_send(self, connection: int, payload: dict[str, str]) -> None:
        value = unpacked(payload)
        peer = self.connections[connection]
        await (peer.send_str(value) if isinstance(value, str) else peer.send_bytes(value))

    async def do_ping(self, connection: int, payload: dict[str, str]) -> None:
        await self.connections[connection].ping(payload["text"].encode())

    async def do_close(self, connection: int, code: int | None, reason: str) -> None:
        peer = self.connections[connection]
        if code is None:
            await peer.send_frame(b"", WSMsgType.CLOSE)
            return
        await peer.close(code=code, message=reason.encode())
        self.report(connection, "closed", code=peer.close_code, reason="")
        if connection in self.sessions:
            await self.sessions.pop(connection).close()

    async def do_vanish(self, connection: int) -> None:
        self.connections[connection]._writer.transport.abort()


def refusal(refuse: dict[str, Any]) -> web.Response:
    """Return the answer of a server that refuses."""
    headers = dict(refuse["headers"])
    return web.Response(status=refuse["status"], reason=refuse["reason"], headers=headers, text=refuse["body"])


if __name__ == "__main__":
    run_on_asyncio(AiohttpPeer)
