"""Start fuzzers and testees, side by side, and wait for their reports.

A Shard (some of the cases, for one role) goes in; the suite's ``index.json`` and all logs are left in a directory.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Bench", "Shard", "deal", "run_shard"]

AGENT = "wsfactory"


@dataclass(frozen=True, slots=True)
class Shard:
    """Some of the cases, run one after the other by one fuzzer."""

    role: str
    number: int
    cases: tuple[str, ...]

    @property
    def name(self) -> str:
        """What its files are called."""
        return f"{self.role}-{self.number}"


@dataclass(frozen=True, slots=True)
class Bench:
    """The commands that are run, and where their reports go."""

    fuzzer: tuple[str, ...]
    server: tuple[str, ...]
    client: tuple[str, ...]
    reports: Path
    patience_seconds: float

    def index(self, shard: Shard) -> Path:
        """Return where the suite writes the outcomes of *shard*."""
        return self.reports / shard.name / "index.json"

    def log(self, shard: Shard, what: str) -> Path:
        """Return where the output of a process goes."""
        return self.reports / f"{shard.name}-{what}.log"


def deal(cases: Sequence[str], hands: int) -> list[tuple[str, ...]]:
    """Deal *cases* out in turn, since neighbours take equally long; no hand is empty."""
    return [tuple(cases[start::hands]) for start in range(min(hands, len(cases)))]


def run_shard(bench: Bench, shard: Shard) -> str | None:
    """Run one fuzzer with its testee until its report is there; return what went wrong, if anything did."""
    shutil.rmtree(bench.index(shard).parent, ignore_errors=True)
    bench.reports.mkdir(parents=True, exist_ok=True)
    try:
        ROLES[shard.role](bench, shard)
    except (OSError, subprocess.SubprocessError) as error:
        return "\n".join([f"{shard.name}: {error}", *_last_lines(bench, shard)])
    return None


def _last_lines(bench: Bench, shard: Shard, lines: int = 12) -> list[str]:
    logs = sorted(bench.reports.glob(f"{shard.name}-*.log"))
    return [f"  {log.name}: {line}" for log in logs for line in log.read_text(errors="replace").splitlines()[-lines:]]


def test_server(bench: Bench, shard: Shard) -> None:
    """Have a fuzzing client go through the cases against an echo server."""
    with started(bench.server, bench.log(shard, "server"), stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        if not url.startswith("ws"):
            raise OSError(f"the server printed {url!r} and not its URL")
        spec = {"servers": [{"agent": AGENT, "url": url}]}
        with fuzzer(bench, shard, "fuzzingclient", spec) as process:
            process.wait(bench.patience_seconds)


def test_client(bench: Bench, shard: Shard) -> None:
    """Have a client go through the cases of a fuzzing server, and ask for the report in the end."""
    url = f"ws://127.0.0.1:{free_port()}"
    with fuzzer(bench, shard, "fuzzingserver", {"url": url}) as process:
        wait_for_port(int(url.rpartition(":")[2]), process)
        with started((*bench.client, f"{url}/", AGENT), bench.log(shard, "client")) as client:
            status = client.wait(bench.patience_seconds)
            if status:
                raise OSError(f"the client ended with status {status}")


ROLES = {"server": test_server, "client": test_client}


@contextmanager
def fuzzer(bench: Bench, shard: Shard, mode: str, spec: Mapping[str, object]) -> Iterator[subprocess.Popen[str]]:
    """Run the suite in *mode* with the shard's cases."""
    file = bench.reports / f"{shard.name}.json"
    outdir = bench.index(shard).parent
    file.write_text(json.dumps({"outdir": str(outdir), "cases": shard.cases, "exclude-cases": [], **spec}))
    command = (*bench.fuzzer, "--mode", mode, "--webport", "0", "--spec", str(file))
    with started(command, bench.log(shard, mode)) as process:
        yield process


@contextmanager
def started(command: Sequence[str], log: Path, stdout: int | None = None) -> Iterator[subprocess.Popen[str]]:
    """Run *command* while the block lasts, its output in *log*."""
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=stdout or output, stderr=output, text=True)
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def wait_for_port(port: int, process: subprocess.Popen[str], patience_seconds: float = 60.0) -> None:
    """Return once *process* listens on *port*; raise ``OSError`` where it ends before, or takes too long."""
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
