"""What the README and examples/ show runs as it stands."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted(ROOT.glob("examples/*.py"))
SECONDS = 30.0


def in_the_readme(title: str) -> str:
    """Return the Python code under a heading of the README."""
    section = (ROOT / "README.rst").read_text().split(f"{title}\n{'-' * len(title)}")[1]
    block = re.search(r"\.\. code-block:: python\n\n((?:    .*\n|\n)+)", section)
    assert block is not None
    return re.sub(r"^    ", "", block[1], flags=re.MULTILINE)


def on_a_free_port(code: str, port: int) -> str:
    return code.replace(":9000/", f":{port}/").replace('"127.0.0.1", 9000', f'"127.0.0.1", {port}')


@pytest.fixture
def port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(code: str, port: int) -> Iterator[subprocess.Popen[str]]:
    """Run *code* as a program of its own, which says a line once it listens."""
    marked = code.replace("reactor.run()", "reactor.callWhenRunning(print, 'running', flush=True); reactor.run()")
    program = subprocess.Popen([sys.executable, "-c", marked], stdout=subprocess.PIPE, text=True)
    try:
        assert program.stdout is not None
        assert program.stdout.readline() in {"running\n", f"listening at port {port}\n"}
        yield program
    finally:
        program.terminate()
        program.wait(SECONDS)


def output_of(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=SECONDS, check=True)
    return done.stdout


@pytest.mark.parametrize("client", ["A client", "A client with coroutines"])
@pytest.mark.parametrize("server", ["A server", "The same on asyncio"])
def test_the_server_and_the_client_of_the_readme_talk_to_each_other(port: int, server: str, client: str) -> None:
    """Whatever their flavour."""
    with running(on_a_free_port(in_the_readme(server), port), port):
        said = output_of(on_a_free_port(in_the_readme(client), port))

    assert said == "hello\n"


@pytest.mark.parametrize("client", ["greeting_client", "asyncio_client"])
@pytest.mark.parametrize("server", ["echo_server", "asyncio_echo"])
def test_the_examples_talk_to_each_other(port: int, server: str, client: str) -> None:
    """Whatever their flavour."""
    server, client = ((ROOT / "examples" / f"{name}.py").read_text() for name in (server, client))
    with running(on_a_free_port(server, port), port):
        said = output_of(on_a_free_port(client, port))

    assert said == "hello\n"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_imports(example: Path) -> None:
    """Each example is a module that does nothing but define, until it is run."""
    code = f"import runpy; runpy.run_path({os.fspath(example)!r}, run_name='imported')"

    assert output_of(code) == ""
