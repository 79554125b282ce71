"""A client with coroutines that says hello and prints the answer: start ``asyncio_echo.py`` first."""

import asyncio

from wsfactory.asyncio import connect

URL = "ws://127.0.0.1:9000/"


async def main() -> None:
    async with connect(URL) as ws:
        await ws.send("hello")
        print(await ws.recv())


if __name__ == "__main__":
    asyncio.run(main())
