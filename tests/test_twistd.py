"""Real processes over loopback: ``twistd wsfactory`` and ``python -m wsfactory``, as people start them."""

from __future__ import annotations

import os
import pty
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from threading import Timer
from typing import Self
from urllib.parse import urlsplit

import pytest

import wsfactory
from wsfactory.frames import Opcode
from wsfactory.testing import Frame, close, text, upgrade_request
from wsfactory.twisted.echo_page import PAGE

TWISTD = Path(sys.executable).with_name("twistd")
README = Path(__file__).parent.parent / "README.rst"
WAIT_SECONDS = 60.0
ANNOUNCED = re.compile(r"(\S+) at (ws\S+) \(try: (.*)\)$")
KEY = b"\x01\x02\x03\x04"

pytestmark = pytest.mark.skipif(not TWISTD.exists() or sys.platform == "win32", reason="there is no twistd script here")


class Process:
    """A child process that is not waited for without end."""

    def __init__(
        self, arguments: list[str], folder: Path, *, stdin: int | None = subprocess.PIPE, keeps: tuple[int, ...] = ()
    ) -> None:
        paths = [str(Path(wsfactory.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
        # As a user has it: what Python warns of to developers is no line of ours.
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
        environment = {**inherited, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUTF8": "1"}
        # A shell's background lets pytest, and its children, ignore Ctrl-C; what is caught here is not ignored there.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.child = subprocess.Popen(
            arguments,
            cwd=folder,
            env=environment,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=keeps,
            text=True,
            encoding="utf-8",
        )
        signal.signal(signal.SIGINT, before)
        self._guard = Timer(WAIT_SECONDS, self.child.kill)
        self._guard.start()

    def ends(self, typed: str | None = None) -> tuple[int, str, str]:
        """Wait for its end; returns the status, and what it wrote to stdout and stderr."""
        out, err = self.child.communicate(typed, timeout=WAIT_SECONDS)
        self._guard.cancel()
        return self.child.returncode, out, err

    def tidy(self) -> None:
        """End it whatever it does."""
        self.child.kill()
        self.ends()


class Service(Process):
    """``twistd -n wsfactory``; ``url`` is where it listens."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        super().__init__([str(TWISTD), "--pidfile=", "-n", "wsfactory", *arguments], folder)
        self.log: list[str] = []
        self.what, self.url, self.command = self._announced()
        self.port = urlsplit(self.url).port

    def _announced(self) -> tuple[str, str, str]:
        assert self.child.stdout is not None
        for line in self.child.stdout:
            self.log.append(line)
            if found := ANNOUNCED.search(line):
                return found[1], found[2], found[3]
        raise AssertionError(f"it did not start: {''.join(self.log)}{self.ends()}")

    def stops(self, *signals: int) -> tuple[int, str]:
        """Send *signals* and wait for its end; returns the status and the rest of its log."""
        for number in signals:
            self.child.send_signal(number)
        status, out, err = self.ends()
        return status, out + err


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Start a service, at a free port of this machine unless told otherwise."""
    with ExitStack() as stack:

        def start(*arguments: str) -> Service:
            where = () if "--listen" in arguments else ("--listen", "tcp:0:interface=127.0.0.1")
            service = Service(tmp_path, *where, *arguments)
            stack.callback(service.tidy)
            return service

        yield start


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start the client for the terminal."""
    with ExitStack() as stack:

        def start(*arguments: str, stdin: int | None = subprocess.PIPE) -> Process:
            process = Process([sys.executable, "-m", "wsfactory", *arguments], tmp_path, stdin=stdin)
            stack.callback(process.tidy)
            return process

        yield start


def run_twistd(folder: Path, *arguments: str) -> tuple[int, str, str]:
    return Process([str(TWISTD), *arguments], folder).ends()


class Socket:
    """A WebSocket client that does only what the test says."""

    def __init__(self, port: int | None) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=WAIT_SECONDS)
        self._received = b""

    def open(self) -> Self:
        """Go through the opening handshake."""
        self.send(upgrade_request())
        while b"\r\n\r\n" not in self._received:
            self._received += self._socket.recv(4096)
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        return self

    def send(self, part: bytes | Frame) -> None:
        """Send it."""
        self._socket.sendall(part.encode(KEY) if isinstance(part, Frame) else part)

    def frame(self) -> Frame:
        """Return the next frame."""
        while (parsed := Frame.parse(self._received)) is None:
            self._received += self._socket.recv(4096)
        frame, self._received = parsed
        return frame

    def rest(self) -> bytes:
        """Return what comes until the other side ends it, be it with a reset."""
        try:
            while data := self._socket.recv(4096):
                self._received += data
        except ConnectionResetError:
            pass
        return self._received

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave."""
        self._socket.close()


# The service.


def test_it_is_a_command_of_twistd(tmp_path: Path) -> None:
    status, out, err = run_twistd(tmp_path, "--help")

    assert (status, err) == (0, "")
    assert re.search(r"^    wsfactory +A WebSocket server", out, re.MULTILINE)


def test_help_is_printed(tmp_path: Path) -> None:
    status, out, err = run_twistd(tmp_path, "wsfactory", "--help")

    assert (status, err) == (0, "")
    assert "--listen=" in out


def test_it_says_where_it_listens_and_the_command_it_says_works(serve: Callable[..., Service], tmp_path: Path) -> None:
    service = serve()
    python, *arguments = service.command.split(" ")
    process = Process([str(tmp_path / python), *arguments, "--message", "hello"], tmp_path)

    assert service.what == "echo"
    assert arguments == ["-m", "wsfactory", service.url]
    assert process.ends() == (0, "hello\n", "")


def test_what_it_says_is_what_the_readme_shows(serve: Callable[..., Service]) -> None:
    """But for the time, the port, and where this Python is."""
    service = serve()
    shown = re.findall(r"^    (\S+ \[wsfactory.*)$", README.read_text(), re.MULTILINE)
    said = service.log[-1].rstrip("\n").replace(f":{service.port}/", ":8080/")
    said = said.replace(f"(try: {service.command.split(' ')[0]} ", "(try: .venv/bin/python ")
    times = [re.sub(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} ", "TIME ", line) for line in (*shown, said)]

    assert times == [times[-1]] * 2
    assert times[0].startswith("TIME [wsfactory#info] echo at ws://127.0.0.1:8080/ ")


# Two values that are fine one by one: told in the client's usual way, and in the service's.
TOGETHER = ["--subprotocol", "a", "--subprotocol", "a"]


def test_options_that_do_not_go_together_end_the_service_with_one_line(tmp_path: Path) -> None:
    status, out, err = run_twistd(tmp_path, "--pidfile=", "-n", "wsfactory", *TOGETHER)
    (line,) = err.splitlines()

    assert status == 1
    assert line.startswith("twistd wsfactory: --subprotocol: ")
    assert "Traceback" not in out


@pytest.mark.parametrize(
    "arguments",
    [
        TOGETHER,
        ["--header", "Host: a", "--header", "Host: b"],
        ["--header", "Authorization: a", "--header", "authorization: b"],
    ],
)
def test_options_that_do_not_go_together_end_the_client(client: Callable[..., Process], arguments: list[str]) -> None:
    """Instead of a traceback, and a reactor that runs for ever."""
    status, out, err = client("ws://127.0.0.1:1/", *arguments).ends()

    assert (status, out) == (2, "")
    assert err.splitlines()[-1].startswith(f"python -m wsfactory: error: {arguments[0]}: ")


def test_a_browser_gets_a_page(serve: Callable[..., Service]) -> None:
    connection = HTTPConnection("127.0.0.1", serve().port or 0, timeout=WAIT_SECONDS)
    connection.request("GET", "/")
    response = connection.getresponse()

    assert (response.status, response.read()) == (200, PAGE)
    connection.close()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, -15), (signal.SIGINT, -2)])
def test_a_signal_closes_every_connection_and_ends_it(serve: Callable[..., Service], number: int, status: int) -> None:
    """With 1001; the process then ends by that signal, which a shell shows as 143 or 130."""
    service = serve()
    with Socket(service.port) as not_open, Socket(service.port).open() as one, Socket(service.port).open() as other:
        service.child.send_signal(number)
        assert not_open.rest() == b""
        assert [one.frame(), other.frame()] == [close(1001)] * 2
        for each in (one, other):
            each.send(close(1001))
            assert each.rest() == b""
            each.close()
        ended, log = service.stops()

    assert ended == status
    assert "Traceback" not in log
    with pytest.raises(ConnectionRefusedError):
        Socket(service.port)


@pytest.mark.parametrize("signals", [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGTERM, signal.SIGINT)])
def test_a_second_signal_ends_it_at_once(serve: Callable[..., Service], signals: tuple[int, ...]) -> None:
    """The peer never answers the Close: by itself that would be waited for."""
    service = serve("--option", "closeHandshakeTimeout=none")
    first, *others = signals
    with Socket(service.port).open() as silent:
        service.child.send_signal(first)
        assert silent.frame() == close(1001)
        status, log = service.stops(*others)
        silent.rest()

    assert status == -first
    assert "aborted 1 connection(s)" in log
    assert "Traceback" not in log


def test_two_signals_at_once_end_it_too(serve: Callable[..., Service]) -> None:
    """The second may come before the reactor has done anything about the first."""
    service = serve("--option", "closeHandshakeTimeout=none")
    with Socket(service.port).open():
        status, log = service.stops(signal.SIGTERM, signal.SIGINT)

    assert -status in {signal.SIGTERM, signal.SIGINT}
    assert "aborted 1 connection(s)" in log
    assert "Traceback" not in log


def test_garbage_is_refused_and_does_no_harm(serve: Callable[..., Service]) -> None:
    service = serve("--option", "maxMessagePayloadSize=1000")
    tls_hello = b"\x16\x03\x01\x02\x00\x01\x00"
    for garbage in (b"\x00\xff\xfe" * 100 + b"\r\n\r\n", tls_hello, b"\r\n" * 10_000, b"A" * 10_000):
        with Socket(service.port) as bad:
            bad.send(garbage)
            bad._socket.shutdown(socket.SHUT_WR)
            assert b" 200 " not in bad.rest()
    with Socket(service.port).open() as bad:
        bad.send(os.urandom(1 << 16))
        bad.rest()
    with Socket(service.port).open() as good:
        good.send(text("still there"))
        assert good.frame() == text("still there")
    _status, log = service.stops(signal.SIGTERM)

    assert "Traceback" not in log


def test_a_protocol_from_the_current_directory_is_served(serve: Callable[..., Service], tmp_path: Path) -> None:
    """With its options, subprotocols and headers."""
    (tmp_path / "shouting.py").write_text(
        "from wsfactory.twisted import ServerProtocol\n"
        "class Shout(ServerProtocol):\n"
        "    def onMessage(self, payload, isBinary):\n"
        "        self.sendMessage(self.subprotocol + payload.decode().upper())\n"
    )
    service = serve(
        *("--protocol", "shouting:Shout", "--subprotocol", "v1"),
        *("--header", "X-One: 1", "--option", "maxMessagePayloadSize=5"),
    )
    with Socket(service.port) as one:
        one.send(upgrade_request(subprotocols=["v1"]))
        while b"\r\n\r\n" not in one._received:
            one._received += one._socket.recv(4096)
        head, _, one._received = one._received.partition(b"\r\n\r\n")
        one.send(text("hello"))
        assert one.frame() == text("v1HELLO")
        one.send(text("hello!"))
        closing = one.frame()

    assert service.what == "shouting.Shout"
    assert b"\r\nX-One: 1" in head
    assert (closing.opcode, closing.payload[:2]) == (Opcode.CLOSE, (1009).to_bytes(2, "big"))


# One for each of the ways out: parsing, checking, listening.
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--nonsense"], "--nonsense"),
        (["--protocol", "no_such_module:Class"], "--protocol no_such_module:Class: "),
        (["--listen", "tcp:99999"], "--listen tcp:99999: "),
    ],
)
def test_a_bad_value_ends_with_one_line_and_status_1(tmp_path: Path, arguments: list[str], named: str) -> None:
    status, out, err = run_twistd(tmp_path, "--pidfile=", "-n", "wsfactory", *arguments)
    (line,) = err.splitlines()

    assert status == 1
    assert line.startswith("twistd wsfactory: ")
    assert named in line
    assert "Traceback" not in out


def taken_port() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def test_a_port_in_use_ends_with_one_line_and_status_1(tmp_path: Path) -> None:
    with taken_port() as taken:
        where = f"ws://127.0.0.1:{taken.getsockname()[1]}/"
        status, out, err = run_twistd(tmp_path, "--pidfile=", "-n", "wsfactory", "--listen", where)
    (line,) = err.splitlines()

    assert status == 1
    assert line.startswith(f"twistd wsfactory: --listen {where}: ")
    assert "Address already in use" in line
    assert "Traceback" not in out


def test_a_daemon_that_cannot_start_tells_the_process_in_front_of_it(tmp_path: Path) -> None:
    """A SystemExit alone would let it wait for ever."""
    with taken_port() as taken:
        where = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
        arguments = ["--pidfile=the.pid", "--logfile=the.log", "wsfactory", "--listen", where]
        # Whatever descends from the process keeps one end of the pipe: its other end tells when all have ended.
        read_end, write_end = os.pipe()
        process = Process([str(TWISTD), *arguments], tmp_path, keeps=(write_end,))
        os.close(write_end)
        status, _out, err = process.ends()
        assert os.read(read_end, 1) == b""
        os.close(read_end)
    log = (tmp_path / "the.log").read_text()

    assert status == 1
    assert "CannotStart" in err
    assert log.count("Address already in use") == 1
    assert "Traceback" not in log + err
    assert not (tmp_path / "the.pid").exists()


# The client for the terminal.


def test_lines_from_a_pipe_come_back(serve: Callable[..., Service], client: Callable[..., Process]) -> None:
    typed = "".join(f"line {number}\n" for number in range(20_000)) + "grün"

    assert client(serve().url).ends(typed) == (0, typed + "\n", "")


def test_lines_from_a_file_come_back(
    serve: Callable[..., Service], client: Callable[..., Process], tmp_path: Path
) -> None:
    path = tmp_path / "typed"
    path.write_text("one\ntwo\n")
    with path.open() as file:
        status, out, _err = client(serve().url, stdin=file.fileno()).ends()

    assert (status, out) == (0, "one\ntwo\n")


def test_lines_from_a_terminal_come_back(serve: Callable[..., Service], client: Callable[..., Process]) -> None:
    """Ctrl-D closes."""
    master, terminal = pty.openpty()
    process = client(serve().url, stdin=terminal)
    os.close(terminal)
    assert process.child.stdout is not None
    for line in ("one\n", "two\n"):
        os.write(master, line.encode())
        assert process.child.stdout.readline() == line
    os.write(master, b"\x04")
    ended = process.ends()
    os.close(master)

    assert ended == (0, "", "")


def test_pings_are_timed(serve: Callable[..., Service], client: Callable[..., Process]) -> None:
    status, out, _err = client(serve().url, "--ping", "3").ends()

    assert status == 0
    assert re.fullmatch(
        r"(pong [123]: \d+\.\d{3} ms\n){3}3 pings, 3 pongs, min/avg/max \d+\.\d{3}/\d+\.\d{3}/\d+\.\d{3} ms\n", out
    )


def test_nobody_there_has_status_1_and_a_reason(client: Callable[..., Process]) -> None:
    with taken_port() as taken:
        port = taken.getsockname()[1]
    status, out, err = client(f"ws://127.0.0.1:{port}/", "--message", "hello").ends()

    assert (status, out) == (1, "")
    assert err.startswith(f"wsfactory: cannot connect to ws://127.0.0.1:{port}/: ")
    assert len(err.splitlines()) == 1


def test_a_refusal_has_status_1_and_its_reason(serve: Callable[..., Service], client: Callable[..., Process]) -> None:
    service = serve("--option", "allowedOrigins=https://example.com")
    status, out, err = client(service.url, "--header", "Origin: https://elsewhere.example", "--message", "hello").ends()

    assert (status, out) == (1, "")
    assert err.startswith("wsfactory: refused: the server answered 403 Forbidden: ")
    assert "allowedOrigins" in err


def test_the_end_of_the_service_has_status_1_and_a_reason(
    serve: Callable[..., Service], client: Callable[..., Process]
) -> None:
    service = serve()
    process = client(service.url)
    assert process.child.stdin is not None
    assert process.child.stdout is not None
    process.child.stdin.write("hello\n")
    process.child.stdin.flush()
    assert process.child.stdout.readline() == "hello\n"
    service.stops(signal.SIGTERM)

    assert process.ends() == (1, "", "wsfactory: the server closed the connection with 1001 (going away)\n")


def test_ctrl_c_ends_it_cleanly(serve: Callable[..., Service], client: Callable[..., Process]) -> None:
    process = client(serve().url)
    assert process.child.stdin is not None
    assert process.child.stdout is not None
    process.child.stdin.write("hello\n")
    process.child.stdin.flush()
    assert process.child.stdout.readline() == "hello\n"
    process.child.send_signal(signal.SIGINT)

    assert process.ends() == (0, "", "")


def test_a_reader_that_leaves_ends_it(serve: Callable[..., Service], client: Callable[..., Process]) -> None:
    """As in ``python -m wsfactory ... | head -1``."""
    process = client(serve().url)
    assert process.child.stdin is not None
    assert process.child.stdout is not None
    process.child.stdin.write("one\ntwo\n")
    process.child.stdin.flush()
    assert process.child.stdout.readline() == "one\n"
    process.child.stdout.close()
    process.child.stdin.write("three\n" * 3)
    process.child.stdin.flush()
    status = process.child.wait(WAIT_SECONDS)
    assert process.child.stderr is not None

    assert status == 1
    assert process.child.stderr.read() == "wsfactory: cannot write to stdout: Broken pipe\n"


def test_a_bad_command_line_has_status_2(client: Callable[..., Process]) -> None:
    status, out, err = client("http://127.0.0.1/").ends()

    assert (status, out) == (2, "")
    assert "the scheme must be ws, wss or ws+unix" in err
