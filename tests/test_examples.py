"""What the README and examples/ show runs as it stands."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import contextmanager
from pathlib import Path

import pytest

from wsfactory.twisted.service_options import Options

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted(ROOT.glob("examples/*.py"))
README = (ROOT / "README.rst").read_text()
SECONDS = 30.0


def in_the_readme(title: str) -> str:
    """Return the Python code under a heading of the README."""
    section = README.split(f"{title}\n{'-' * len(title)}")[1]
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
    with subprocess.Popen([sys.executable, "-c", marked], stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout is not None
            assert program.stdout.readline() in {"running\n", f"listening at port {port}\n"}
            yield program
        finally:
            program.terminate()


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


@pytest.mark.parametrize("title", ["A server", "A client"])
def test_a_first_program_has_ten_lines_at_most(title: str) -> None:
    assert len([line for line in in_the_readme(title).splitlines() if line.strip()]) <= 10


def commands() -> list[list[str]]:
    """Return the words of each twistd command of the README."""
    return [shlex.split(line) for line in re.findall(r"^    .*?(twistd .*)$", README, re.MULTILINE)]


def test_no_command_of_the_readme_leaves_a_file_behind() -> None:
    assert len(commands()) == 2
    assert all("--pidfile=" in words for words in commands())


def test_the_service_takes_the_options_that_the_readme_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", sys.modules.copy())
    (tmp_path / "chat").mkdir()
    (tmp_path / "chat" / "server.py").write_text(
        "from wsfactory.twisted import ServerProtocol\nclass Chat(ServerProtocol):\n    pass\n"
    )
    for words in commands():
        options = Options()
        options.parseOptions(words[words.index("wsfactory") + 1 :])

        assert options.factory.protocol is not None


def test_the_extras_that_the_readme_names_are_there() -> None:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    named = {extra for extras in re.findall(r"'\.\[([\w,]+)\]'", README) for extra in extras.split(",")}

    assert {"tls", "fast", "test"} <= named <= set(setup["options.extras_require"])


def test_every_package_is_listed() -> None:
    """Those of the tree, and twisted.plugins, which is none."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    there = {".".join(path.parent.relative_to(ROOT).parts) for path in ROOT.glob("wsfactory/**/__init__.py")}

    assert set(setup["options"]["packages"].split()) == there | {"twisted.plugins"}


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
