"""Threads: sending from another one, and the servers of docs/threads.rst, run in and stopped from another one."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import loops
from tests.flavours import Flavour, on_every_flavour
from wsfactory.asyncio import connect
from wsfactory.errors import ConnectionClosed
from wsfactory.stream import Stream

DOCUMENT = Path(__file__).parent.parent / "docs" / "threads.rst"
SECONDS = 30.0


def programs() -> list[str]:
    """Return the programs of the document: Twisted's, then asyncio's."""
    blocks = re.findall(r"\.\. code-block:: python\n\n((?:    .*\n|\n)+)", DOCUMENT.read_text())
    return [re.sub(r"^    ", "", block, flags=re.MULTILINE) for block in blocks]


@pytest.mark.parametrize("program", programs(), ids=["twisted", "asyncio"])
def test_a_server_is_run_in_and_stopped_from_another_thread(program: str, free_port: int) -> None:
    """The documented program, as it stands: it says a line once it listens, and ends when it is told to."""
    code = program.replace("9000", str(free_port)).replace("input()", "input('running\\n')")
    running = subprocess.Popen(
        [sys.executable, "-u", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert running.stdout is not None
    assert running.stdout.readline() == "running\n"
    said: list[Any] = []
    loops.run(asyncio.new_event_loop, hold_a_conversation(f"ws://127.0.0.1:{free_port}/", running, said))

    assert said == ["hello", 1001]
    assert running.wait(SECONDS) == 0


async def hold_a_conversation(url: str, server: subprocess.Popen[str], said: list[Any]) -> None:
    ws = await connect(url)
    await ws.send("hello")
    said.append(await ws.recv())
    assert server.stdin is not None
    server.stdin.write("\n")
    server.stdin.close()
    await ws.wait_closed()
    assert ws.closeInfo is not None
    said.append(ws.closeInfo.code)


@pytest.fixture
def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@on_every_flavour
async def test_another_thread_sends_in_its_order(on: Flavour) -> None:
    count = 100
    call = on.call_from_thread()

    async def from_a_thread(ws: Stream) -> None:
        def say() -> None:
            for number in range(count):
                call(ws.sendMessage, str(number))

        await on.in_a_thread(say)
        await ws.recv()

    factory = on.ServingFactory(from_a_thread)
    listening = await on.listen("ws://127.0.0.1:0/", factory)
    ws = await on.connect(f"ws://127.0.0.1:{on.port_of(listening)}/")
    got = [await ws.recv() for _ in range(count)]
    await ws.close()
    await factory.shutdown()

    assert got == [str(number) for number in range(count)]


@on_every_flavour
async def test_another_thread_waits_for_what_it_sends_and_hears_when_it_cannot(on: Flavour) -> None:
    async def from_a_thread(ws: Stream) -> None:
        wait_for = on.wait_from_thread()
        outcomes.append(await on.in_a_thread(lambda: wait_for(ws.send, "hello")))
        await ws.close()
        with pytest.raises(ConnectionClosed):
            await on.in_a_thread(lambda: wait_for(ws.send, "too late"))
        outcomes.append("too late")

    outcomes: list[object] = []
    factory = on.ServingFactory(from_a_thread)
    listening = await on.listen("ws://127.0.0.1:0/", factory)
    ws = await on.connect(f"ws://127.0.0.1:{on.port_of(listening)}/")
    got = [message async for message in ws]
    await factory.shutdown()

    assert got == ["hello"]
    assert outcomes == [None, "too late"]
