"""The service: it listens and says so, refuses in one line, closes gently, and at once when it is told twice."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogEvent, capturedLogs, formatEvent
from zope.interface import implementer

from wsfactory import testing
from wsfactory.frames import CloseCode, Opcode
from wsfactory.testing import Frame, alone
from wsfactory.twisted import ServerFactory, ServerProtocol
from wsfactory.twisted.echo import Echo
from wsfactory.twisted.endpoints import server_endpoint
from wsfactory.twisted.service import CannotStart, WebSocketService, makeService, python_command
from wsfactory.twisted.service_options import Options, Place


class Reactor(MemoryReactorClock):
    """A reactor that can be told to stop, and whose ports are where they were asked for."""

    stopped = False

    def listenTCP(self, port: int, factory: object, backlog: int = 50, interface: str = "") -> IListeningPort:
        listening = super().listenTCP(port, factory, backlog, interface)
        kind = IPv6Address if ":" in interface else IPv4Address
        listening.getHost = lambda: kind("TCP", interface or "0.0.0.0", port)
        return listening

    def stop(self) -> None:
        self.stopped = True


@implementer(IStreamServerEndpoint)
class Endpoint:
    """Listens when it is told to."""

    def __init__(self) -> None:
        self.listening: Deferred[IListeningPort] = Deferred()

    def listen(self, protocolFactory: object) -> Deferred[IListeningPort]:
        return self.listening


def service_at(*texts: str, reactor: Reactor | None = None) -> WebSocketService:
    reactor = reactor or Reactor()
    places = [Place(text, server_endpoint(text, reactor)) for text in texts]
    return WebSocketService(ServerFactory(Echo, reactor=reactor), places, cast("Any", reactor))


@pytest.fixture
def logged() -> Iterator[Sequence[LogEvent]]:
    """What is logged by the package during the test."""
    with capturedLogs() as events:
        yield events


def memory() -> Any:
    """Return a clock for a factory whose connections are in memory."""
    return testing.Clock()


def lines(events: Sequence[LogEvent]) -> list[str]:
    return [formatEvent(event) for event in events if event.get("log_namespace") == "wsfactory"]


# Listening.


def test_it_says_in_one_line_where_it_listens_and_how_to_talk_to_it(logged: Sequence[LogEvent]) -> None:
    service_at("ws://127.0.0.1:8080/").privilegedStartService()

    (line,) = lines(logged)
    assert line.startswith("echo at ws://127.0.0.1:8080/ (try: ")
    assert line.endswith("python -m wsfactory ws://127.0.0.1:8080/)")


@pytest.mark.parametrize(
    ("text", "url", "tryable"),
    [
        ("tcp:9000", "ws://0.0.0.0:9000/", "ws://127.0.0.1:9000/"),
        ("tcp6:9000", "ws://[::]:9000/", "ws://[::1]:9000/"),
        ("tcp:9000:interface=10.0.0.1", "ws://10.0.0.1:9000/", "ws://10.0.0.1:9000/"),
        ("unix:/run/echo.sock", "ws+unix:///run/echo.sock:/", "ws+unix:///run/echo.sock:/"),
    ],
)
def test_the_line_has_an_address_that_can_be_connected_to(
    logged: Sequence[LogEvent], text: str, url: str, tryable: str
) -> None:
    service_at(text).privilegedStartService()

    (line,) = lines(logged)
    assert f" at {url} (" in line
    assert line.endswith(f" -m wsfactory {tryable})")


def test_several_places_are_one_line(logged: Sequence[LogEvent]) -> None:
    service_at("tcp:9000:interface=127.0.0.1", "ws://127.0.0.1:9001/").privilegedStartService()

    (line,) = lines(logged)
    assert line.startswith("echo at ws://127.0.0.1:9000/ and ws://127.0.0.1:9001/ (try: ")


def test_a_protocol_of_the_users_is_named(logged: Sequence[LogEvent]) -> None:
    service = service_at("ws://127.0.0.1:8080/")
    service.factory.protocol = ServerProtocol
    service.privilegedStartService()

    assert lines(logged)[0].startswith("wsfactory.twisted.server.ServerProtocol at ws://127.0.0.1:8080/ ")


def test_the_command_is_short_where_python_is_below_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it is called python where that is the same, as every README calls it."""
    folder = tmp_path / ".venv" / "bin"
    folder.mkdir(parents=True)
    (folder / "python3.99").touch()
    (folder / "python").symlink_to("python3.99")
    monkeypatch.setattr(sys, "executable", str(folder / "python3.99"))

    assert python_command() == str(folder / "python")

    monkeypatch.chdir(tmp_path)

    assert python_command() == os.path.join(".venv", "bin", "python")


def test_make_service_is_what_the_options_say() -> None:
    options = Options()
    options.parseOptions(["--listen", "tcp:9000", "--option", "maxQueue=5"])
    service = makeService(options)

    assert service.factory is options.factory
    assert service.factory.options.maxQueue == (5, 1)


# A port that cannot be had.


def busy(reactor: Reactor, monkeypatch: pytest.MonkeyPatch) -> None:
    def listen(port: int, *_: object, **__: object) -> None:
        raise CannotListenError("127.0.0.1", port, OSError(98, "Address already in use"))

    monkeypatch.setattr(reactor, "listenTCP", listen)


def test_a_port_in_use_ends_the_program_with_one_line(
    monkeypatch: pytest.MonkeyPatch, logged: Sequence[LogEvent]
) -> None:
    """It is a SystemExit for twistd -n, and an Exception that twistd tells the process in front of a daemon."""
    reactor = Reactor()
    busy(reactor, monkeypatch)
    with pytest.raises(CannotStart) as caught:
        service_at("ws://127.0.0.1:8080/", reactor=reactor).privilegedStartService()

    assert isinstance(caught.value, SystemExit)
    assert isinstance(caught.value, Exception)
    assert caught.value.code == (
        "twistd wsfactory: --listen ws://127.0.0.1:8080/: Couldn't listen on 127.0.0.1:8080: [Errno 98] Address already"
        " in use.; allowed is a free address of this machine, for example --listen tcp:8081:interface=127.0.0.1"
    )
    assert lines(logged) == []


def test_the_last_words_go_to_the_terminal_where_there_is_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A daemon's go to its log, to which twistd has turned stderr."""
    log = object()
    for real, shown in ((tmp_path / "terminal", True), (Path(os.devnull), False)):
        with real.open("w") as stream:
            monkeypatch.setattr(sys, "__stderr__", stream)
            monkeypatch.setattr(sys, "stderr", log)
            reactor = Reactor()
            busy(reactor, monkeypatch)
            with pytest.raises(CannotStart):
                service_at("ws://127.0.0.1:8080/", reactor=reactor).privilegedStartService()

            assert sys.stderr is (stream if shown else log)


def test_an_endpoint_that_fails_late_stops_the_reactor(logged: Sequence[LogEvent]) -> None:
    reactor, endpoint = Reactor(), Endpoint()
    places = [Place("slow:1", endpoint)]
    service = WebSocketService(ServerFactory(Echo, reactor=reactor), places, cast("Any", reactor))
    service.privilegedStartService()
    service.startService()
    endpoint.listening.errback(CannotListenError("somewhere", 1, OSError("no")))

    assert reactor.stopped
    assert lines(logged)[0].startswith("twistd wsfactory: --listen slow:1: Couldn't listen on somewhere:1: no.; ")


# The end.


def stopping(*, connections: int = 0) -> tuple[WebSocketService, list[testing.Alone[ServerProtocol]], list[object]]:
    """Return a service that has been told to stop, its connections, and what stopService's Deferred fired with."""
    reactor = Reactor()
    service = service_at("ws://127.0.0.1:8080/", reactor=reactor)
    service.factory = ServerFactory(Echo, reactor=memory())
    service.privilegedStartService()
    service.startService()
    clients = [alone(service.factory) for _ in range(connections)]
    fired: list[object] = []
    service.stopService().addBoth(fired.append)
    return service, clients, fired


def test_without_connections_it_ends_at_once() -> None:
    assert stopping()[2] == [None]


def test_it_closes_every_connection_with_1001_and_waits_for_them() -> None:
    _service, clients, fired = stopping(connections=2)
    for client in clients:
        client.run()
        assert client.peer.frames() == [Frame(Opcode.CLOSE, CloseCode.GOING_AWAY.to_bytes(2, "big"))]
        assert fired == []
        client.exchange(testing.close(1001))
        client.peer.wire.finish()
        client.run()

    assert fired == [None]


def test_a_second_signal_aborts_what_is_left() -> None:
    service, (client,), fired = stopping(connections=1)
    service._hurry()
    client.run()

    assert client.wire.aborted
    assert fired == [None]


def test_a_second_signal_waits_for_no_callback() -> None:
    """An onMessage that never ends keeps its connection; it does not keep the program."""

    class Stuck(ServerProtocol):
        async def onMessage(self, payload: bytes, isBinary: bool) -> None:
            await Deferred()

    service = service_at("ws://127.0.0.1:8080/")
    service.factory = ServerFactory(Stuck, reactor=memory())
    service.startService()
    client = alone(service.factory)
    client.exchange(testing.text("hello"))
    fired: list[object] = []
    service.stopService().addBoth(fired.append)
    service._hurry()
    client.run()

    assert fired == [None]


def test_two_signals_at_once_are_enough() -> None:
    """The second may come before the reactor has done anything about the first."""
    service = service_at("ws://127.0.0.1:8080/")
    service.factory = ServerFactory(Echo, reactor=memory())
    service.startService()
    client = alone(service.factory)
    service._hurry()
    fired: list[object] = []
    service.stopService().addBoth(fired.append)
    client.run()

    assert client.wire.aborted
    assert fired == [None]
