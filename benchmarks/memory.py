"""How much memory an idle connection takes in the server's process, with us and with the peers.

    python benchmarks/memory.py           some minutes; --rounds 1 for a quick look, --servers a,b for some of them

Each server runs in a process of its own (memory_servers.py), one after the other, in each round in another order.  The
load side is this process: it opens the connections with the handshake of a browser, sends one small message on each,
takes the echo, and then only holds them.  What counts is the server's PSS by /proc/PID/smaps_rollup once it has come to
rest, less what it was with a few connections, divided by the connections that came since; of the rounds the median.
Only the anonymous part of it (Pss_Anon) is taken: no connection maps a file, and each process's share of the libraries
changes with whoever else runs Python meanwhile.  The kernel's memory for sockets is not in it.

The table is reStructuredText, as docs/performance.rst has it.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import os
import platform
import random
import resource
import socket
import statistics
import struct
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from memory_servers import HOST, SERVERS

OURS = "wsfactory-uvloop"
AIM_KIB = 4
AIMED = (OURS, "wsfactory-serve")
# So many are there before: what is made once, for the first of them, does not count.
FIRST = 20
# More would overflow the backlog of a listening socket.
OPENING_AT_ONCE = 32
OPENING_SECONDS = 300
REST_SECONDS = 1.0
MAX_RESTS = 20
PAYLOAD = random.randbytes(32)
# FIN and binary, masked with zeros: so the end of an echo looks the same, masked or not.
MESSAGE = bytes([0x82, 0x80 | len(PAYLOAD), 0, 0, 0, 0]) + PAYLOAD
# As Chromium says it, in its order.
REQUEST = """\
GET / HTTP/1.1
Host: {host}
Connection: Upgrade
Pragma: no-cache
Cache-Control: no-cache
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36
Upgrade: websocket
Origin: http://{host}
Sec-WebSocket-Version: 13
Accept-Encoding: gzip, deflate, br, zstd
Accept-Language: en-US,en;q=0.9,de;q=0.8
Cookie: session={session}; csrftoken={token}; theme=dark; consent=analytics%3Dno%26marketing%3Dno
Sec-WebSocket-Key: {key}
Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits

""".replace("\n", "\r\n")

# KiB for one connection, by server: one number for each round.
Rounds = dict[str, list[float]]


# The load.


class Connections:
    """The client's ends of the connections to one server; *touch*: each sends a message, and takes its echo."""

    def __init__(self, touch: bool) -> None:
        self._touch = touch
        self._sockets: list[socket.socket] = []
        self._turns = asyncio.Semaphore(OPENING_AT_ONCE)

    async def open(self, count: int, port: int) -> None:
        async with asyncio.timeout(OPENING_SECONDS), asyncio.TaskGroup() as tasks:
            for _ in range(count):
                tasks.create_task(self._open_one(port))

    async def _open_one(self, port: int) -> None:
        async with self._turns:
            client = socket.socket()
            client.setblocking(False)
            # To reset, not to leave thousands of addresses in TIME_WAIT.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._sockets.append(client)
            await asyncio.get_running_loop().sock_connect(client, (HOST, port))
            head = await exchange(client, request(port), b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101 "), head
            assert b"sec-websocket-extensions" not in head.lower(), "compression is to be off"
            if self._touch:
                await exchange(client, MESSAGE, PAYLOAD)

    def close(self) -> None:
        for client in self._sockets:
            client.close()


def request(port: int) -> bytes:
    text = REQUEST.format(
        host=f"{HOST}:{port}",
        session=random.randbytes(48).hex(),
        token=random.randbytes(32).hex(),
        key=base64.b64encode(random.randbytes(16)).decode(),
    )
    return text.encode()


async def exchange(client: socket.socket, data: bytes, end: bytes) -> bytes:
    """Send *data*, and return what is answered up to *end*, which nothing follows."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(client, data)
    answer = b""
    while not answer.endswith(end):
        more = await loop.sock_recv(client, 4096)
        if not more:
            raise ConnectionError(f"the server closed after {answer!r}")
        answer += more
    return answer


def allow_descriptors(connections: int) -> None:
    """Raise the limit of open files, for this process and the servers that it starts."""
    needed = connections + FIRST + 100
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        sys.exit(f"{connections} connections need {needed} descriptors, and only {hard} are allowed (ulimit -Hn)")
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


# The measurement.


@contextlib.contextmanager
def running(name: str) -> Iterator[tuple[int, int]]:
    """Run a server; gives its process id and its port."""
    command = [sys.executable, str(Path(__file__).with_name("memory_servers.py")), name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield process.pid, int(process.stdout.readline() or sys.exit(f"{name} did not start"))
        finally:
            process.kill()


def pss_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss_Anon:"):
            return int(line.split()[1])
    raise RuntimeError("the kernel tells no Pss_Anon")


async def pss_at_rest(pid: int) -> int:
    """Return the PSS in KiB, once it stays as it is."""
    before = -1
    for _ in range(MAX_RESTS):
        now = pss_kib(pid)
        if abs(now - before) * 1000 <= now:
            break
        before = now
        await asyncio.sleep(REST_SECONDS)
    return now


async def kib_per_connection(name: str, count: int, touch: bool) -> float:
    with contextlib.ExitStack() as stack:
        # The server ends first: it need not hear thousands of connections break off.
        connections = stack.enter_context(contextlib.closing(Connections(touch)))
        pid, port = stack.enter_context(running(name))
        await connections.open(FIRST, port)
        before = await pss_at_rest(pid)
        await connections.open(count, port)
        return (await pss_at_rest(pid) - before) / count


def measure(names: list[str], rounds: int, connections: int, touch: bool) -> Rounds:
    results: Rounds = {name: [] for name in names}
    for number in range(1, rounds + 1):
        for name in random.sample(names, len(names)):
            results[name].append(asyncio.run(kib_per_connection(name, connections, touch)))
            print(f"round {number} of {rounds}: {name} {results[name][-1]:.2f} KiB", file=sys.stderr)
    return results


# The report.


def setting() -> str:
    """Return what runs here."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    versions = []
    for name in ("autobahn", "websockets", "aiohttp", "picows", "tornado", "twisted", "uvloop"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions.append(f"{name} {metadata.version(name)}")
    return ", ".join([our_version(), python, f"{platform.system()} {platform.machine()}", *versions])


def our_version() -> str:
    try:
        import wsfactory
    except ImportError:
        return "wsfactory not installed"
    return f"wsfactory {wsfactory.__version__} ({'compiled' if wsfactory.COMPILED else 'pure'})"


def table(results: Rounds) -> None:
    """Print a reStructuredText table: a row for each server."""
    medians = {name: statistics.median(values) for name, values in results.items()}
    rows = [["server", "runs on", "KiB", "lowest", "highest", "ratio to ours"]]
    for name in results:
        ratio = f"{medians[name] / medians[OURS]:.2f}" if OURS in medians else "\N{EN DASH}"
        numbers = [f"{value:.2f}" for value in (medians[name], min(results[name]), max(results[name]))]
        rows.append([name, SERVERS[name].runs_on, *numbers, ratio])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    rule = "  ".join("=" * width for width in widths)
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    print(rule, lines[0], rule, *lines[1:], rule, "", sep="\n")


def report(results: Rounds, connections: int, touch: bool) -> None:
    did = "after one message of 32 bytes each way" if touch else "on which no message was sent"
    print(f".. rubric:: Memory of an idle connection, {did}: KiB, of {connections:,} connections\n")
    table(results)
    for name in AIMED:
        if name in results:
            print(f"* {name}: {statistics.median(results[name]):.2f} KiB (aim: at most {AIM_KIB})")
    print()


def chosen(text: str) -> list[str]:
    """Return the servers to measure, and say which are left out because something is not installed."""
    names = [name for name in text.split(",") if name] or list(SERVERS)
    unknown = [name for name in names if name not in SERVERS]
    if unknown:
        sys.exit(f"unknown: {', '.join(unknown)}; there are {', '.join(SERVERS)}")
    missing = {name: SERVERS[name].missing for name in names}
    left_out = [f"{name} ({', '.join(modules)})" for name, modules in missing.items() if modules]
    print(f"not installed, left out: {', '.join(left_out) or 'nothing'}\n")
    return [name for name in names if not missing[name]]


def main() -> None:
    parser = argparse.ArgumentParser(description="memory of an idle connection, beside the peers that are installed")
    parser.add_argument("--connections", type=int, default=5000, help="to each server (default: 5000)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each server (default: 3)")
    parser.add_argument("--servers", default="", help=f"some of {','.join(SERVERS)} (default: all)")
    parser.add_argument(
        "--touch", action=argparse.BooleanOptionalAction, default=True, help="one message before idling"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the numbers there, too")
    arguments = parser.parse_args()
    if not Path(f"/proc/{os.getpid()}/smaps_rollup").exists():
        sys.exit("this needs Linux: /proc/PID/smaps_rollup")
    allow_descriptors(arguments.connections)
    print(setting(), flush=True)
    names = chosen(arguments.servers)
    results = measure(names, arguments.rounds, arguments.connections, arguments.touch)
    report(results, arguments.connections, arguments.touch)
    if arguments.json:
        told = {"setting": setting(), "connections": arguments.connections, "touch": arguments.touch, "kib": results}
        arguments.json.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
