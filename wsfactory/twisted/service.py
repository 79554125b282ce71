"""``twistd wsfactory``: the service that listens, says where, and shuts down.

It opens its ports before privileges are shed; a port that cannot be opened ends the program with one line.  Stopping
closes every connection with 1001; a second signal aborts what is left.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from twisted.application.service import Service
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsfactory.twisted.command_line import one_line
from wsfactory.twisted.echo import Echo
from wsfactory.twisted.server import ServerFactory, listen
from wsfactory.twisted.service_options import PROGRAM, IReactor, Options, Place, the_reactor
from wsfactory.twisted.signals import SecondSignal

__all__ = ["CannotStart", "Options", "WebSocketService", "makeService"]

_log = Logger(namespace="wsfactory")


class CannotStart(SystemExit, Exception):
    """Ends the program with one line and status 1.

    As an Exception it also reaches the process in front of a daemon, which otherwise waits for ever.
    """


class WebSocketService(Service):
    """Listens at *places* with *factory*, from ``privilegedStartService`` to ``stopService``."""

    def __init__(self, factory: ServerFactory, places: Sequence[Place], reactor: IReactor) -> None:
        self.factory = factory
        self._places = places
        self._reactor = reactor
        self._signals = SecondSignal(reactor, self._hurry)
        self._failure: str | None = None
        self._in_a_hurry = False

    def privilegedStartService(self) -> None:
        """Open the ports; raises ``CannotStart``."""
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        opening = [listen(place.endpoint, self.factory) for place in self._places]
        gatherResults(opening, consumeErrors=True).addCallbacks(self._listens, self._cannot_listen)
        if self._failure is not None:
            _show_on_terminal()
            raise CannotStart(self._failure)

    def startService(self) -> None:
        """The ports are open, or will soon be."""
        super().startService()  # type: ignore[no-untyped-call]
        self._reactor.callWhenRunning(self._signals.install)

    def _listens(self, ports: list[IListeningPort]) -> None:
        urls = [url_of(place, port.getHost()) for place, port in zip(self._places, ports, strict=True)]
        tryable = urls[0].replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
        _log.info(
            "{what} at {urls} (try: {python} -m wsfactory {tryable})",
            what=_name(self.factory.protocol),
            urls=" and ".join(urls),
            python=python_command(),
            tryable=tryable,
        )

    def _cannot_listen(self, failure: Failure) -> None:
        first = failure.value
        assert isinstance(first, FirstError)
        place, error = self._places[first.index], first.subFailure.value
        self._failure = (
            f"{PROGRAM}: --listen {place.text}: {one_line(error)}; allowed is a free address of this machine,"
            " for example --listen tcp:8081:interface=127.0.0.1"
        )
        if self.running:
            # An endpoint that takes its time, when nobody waits for us any more.
            _log.critical("{failure}", failure=self._failure)
            self._reactor.stop()

    def stopService(self) -> Deferred[None]:
        """Stop listening and close every connection with 1001; fires when the last one is gone."""
        super().stopService()  # type: ignore[no-untyped-call]
        count = len(self.factory.connections)
        if count:
            _log.info("closing {count} connection(s); a second signal aborts them", count=count)
        stopped = self.factory.shutdown().addCallback(_tell_aborted)
        if self._in_a_hurry:
            self._hurry()
        return stopped

    def _hurry(self) -> None:
        """Abort what is left; if the first signal has not arrived at ``stopService`` yet, it will do so then."""
        self._in_a_hurry = True
        if self.factory.shuttingDown:
            self.factory.shutdown()


def _tell_aborted(aborted: object) -> None:
    if isinstance(aborted, list) and aborted:
        _log.warn("aborted {count} connection(s)", count=len(aborted))


def makeService(options: Options) -> WebSocketService:
    """Return the service that *options* describe; twistd calls it."""
    return WebSocketService(options.factory, options.places, the_reactor())


def url_of(place: Place, address: IAddress) -> str:
    """Return the URL at which clients find *place*, now that it listens at *address*."""
    if isinstance(address, UNIXAddress):
        return f"ws+unix://{os.path.abspath(os.fsdecode(address.name or b''))}:/"
    host, port = getattr(address, "host", "?"), getattr(address, "port", "?")
    return f"{'wss' if place.secure else 'ws'}://{f'[{host}]' if ':' in host else host}:{port}/"


def python_command() -> str:
    """Return how to call this Python from here, as short as it can be pasted."""
    running = Path(sys.executable)
    plain = running.with_name("python")
    python = plain if plain.exists() and plain.samefile(running) else running
    here = Path.cwd()
    return str(python.relative_to(here)) if python.is_relative_to(here) else str(python)


def _name(protocol: object) -> str:
    if protocol is Echo:
        return "echo"
    return f"{getattr(protocol, '__module__', '?')}.{getattr(protocol, '__qualname__', '?')}"


def _show_on_terminal() -> None:
    """Let the last words go to the real stderr: twistd has turned it to its log, which a daemon's shall stay."""
    real = sys.__stderr__
    if real is not None and not os.path.samestat(os.fstat(real.fileno()), os.stat(os.devnull)):
        sys.stderr = real
