"""An echo server with coroutines: ``python examples/asyncio_echo.py``, then ``asyncio_client.py``."""

import asyncio

from wsfactory.asyncio import serve
from wsfactory.stream import Stream


async def echo(ws: Stream) -> None:
    async for message in ws:
        await ws.send(message)


async def main() -> None:
    async with serve(echo, "127.0.0.1", 9000) as server:
        print("listening at port", server.port, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
