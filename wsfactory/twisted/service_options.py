"""The command line of ``twistd wsfactory``: text goes in, places to listen at and a factory come out.

What cannot be becomes a ``SystemExit`` with one line that names the option and says what is allowed.  (A ``UsageError``
would print the whole usage in front of it.)
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import NoReturn, TypeVar, cast

from twisted.internet.interfaces import IReactorCore, IReactorFromThreads, IReactorTime, IStreamServerEndpoint
from twisted.python import usage

import wsfactory
from wsfactory.errors import OptionError
from wsfactory.options import option_names
from wsfactory.twisted.command_line import (
    load_class,
    naming_the_option,
    one_line,
    parse_header,
    parse_option,
    parse_subprotocol,
)
from wsfactory.twisted.echo import Echo
from wsfactory.twisted.endpoints import server_endpoint
from wsfactory.twisted.server import ServerFactory, ServerProtocol

__all__ = ["PROGRAM", "IReactor", "Options", "Place", "the_reactor"]

PROGRAM = "twistd wsfactory"
DEFAULT_PLACE = "ws://127.0.0.1:8080/"

_PLACES = (
    "allowed is an endpoint such as tcp:9000, tcp:9000:interface=127.0.0.1 or"
    " ssl:9443:privateKey=key.pem:certKey=cert.pem, or a URL such as ws://127.0.0.1:9000/"
)
_STDIO = re.compile(r"(haproxy:)?stdio(:|$)")
_MORE = f"""
The names for --option:
{fill(", ".join(option_names()), 78, initial_indent="  ", subsequent_indent="  ")}

Without options it serves an echo at {DEFAULT_PLACE}, for browsers too.

Examples:
  twistd --pidfile= -n wsfactory
  twistd --pidfile= -n wsfactory --listen tcp:9000 --protocol chat.server:Chat
  twistd --pidfile= -n wsfactory --option maxQueue=100 --option allowedOrigins=https://example.com

Talk to it with: python -m wsfactory {DEFAULT_PLACE}
Ctrl-C or SIGTERM closes all connections and ends it; a second one does so at once.
"""

T = TypeVar("T")


class IReactor(IReactorCore, IReactorFromThreads, IReactorTime):
    """What of a reactor the service uses."""


def the_reactor() -> IReactor:
    """Return the global reactor; twistd's own options decide which one that is, before ours are read."""
    from twisted.internet import reactor

    return cast("IReactor", reactor)


@dataclass(frozen=True, slots=True)
class Place:
    """Where to listen: the text that named it, and the endpoint."""

    text: str
    endpoint: IStreamServerEndpoint

    @property
    def secure(self) -> bool:
        """Whether it speaks TLS, as far as the text tells."""
        return self.text.lower().startswith(("ssl:", "haproxy:ssl:"))


class Options(usage.Options):
    """What may follow ``twistd wsfactory``; after parsing, ``places`` and ``factory`` are there to be used."""

    synopsis = "[options]"
    longdesc = ""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._listen: list[str] = []
        self._options: list[str] = []
        self._subprotocols: list[str] = []
        self._headers: list[str] = []
        self._protocol: str | None = None
        self.places: list[Place] = []
        self.factory: ServerFactory

    def opt_listen(self, endpoint: str) -> None:
        """Where to listen: an endpoint (tcp:9000, ssl:..., unix:...) or a URL (ws://127.0.0.1:9000/). Repeatable."""
        self._listen.append(endpoint)

    def opt_protocol(self, name: str) -> None:
        """What to serve, package.module:Class, a wsfactory.twisted.ServerProtocol; also from the current directory."""
        self._protocol = name

    def opt_option(self, assignment: str) -> None:
        """A setting, name=value, with a value like 100, 2.5, true, none, 64,16 or text. Repeatable."""
        self._options.append(assignment)

    def opt_subprotocol(self, name: str) -> None:
        """A subprotocol to agree to; the first one has preference. Repeatable."""
        self._subprotocols.append(name)

    def opt_header(self, header: str) -> None:
        """A header for each 101 response, 'Name: value'. Repeatable."""
        self._headers.append(header)

    def opt_version(self) -> NoReturn:
        """Display the version of wsfactory and exit."""
        build = "compiled" if wsfactory.COMPILED else "pure Python"
        sys.stdout.write(f"wsfactory {wsfactory.__version__} ({build} codec)\n")
        sys.exit(0)

    def getUsage(self, width: int | None = None) -> str:
        """Return the text of --help."""
        return super().getUsage(width) + _MORE

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Read the command line."""
        try:
            super().parseOptions(options)  # type: ignore[no-untyped-call]
        except usage.UsageError as error:
            raise SystemExit(f"{PROGRAM}: {one_line(error)}; see {PROGRAM} --help") from None

    def parseArgs(self, *rest: str) -> None:
        """Refuse what is no option."""
        if rest:
            raise usage.UsageError(f"what does {rest[0]!r} mean? Addresses go behind --listen")

    def postOptions(self) -> None:
        """Check everything; nothing has been opened yet."""
        reactor = the_reactor()
        self.places = self._each("listen", self._listen or [DEFAULT_PLACE], lambda text: _place(text, reactor))
        protocols = self._each("protocol", [self._protocol] if self._protocol else [], _load_protocol)
        # The echo may be tried from any page; a protocol of the user's decides for itself.
        defaults: dict[str, object] = {} if protocols else {"allowedOrigins": "*"}
        settings = defaults | dict(self._each("option", self._options, parse_option))
        agreed = self._each("subprotocol", self._subprotocols, parse_subprotocol)
        extra = self._each("header", self._headers, parse_header)
        try:
            self.factory = ServerFactory(
                protocols[0] if protocols else Echo, subprotocols=agreed, headers=extra, reactor=reactor, **settings
            )
        except OptionError as error:
            # Each value is fine, but not all of them together.
            raise SystemExit(f"{PROGRAM}: {naming_the_option(error)}") from None

    def _each(self, option: str, texts: Sequence[str], parse: Callable[[str], T]) -> list[T]:
        return [_checked(option, text, parse) for text in texts]


def _checked(option: str, text: str, parse: Callable[[str], T]) -> T:
    try:
        return parse(text)
    except ValueError as error:
        raise SystemExit(f"{PROGRAM}: --{option} {one_line(text)}: {one_line(error)}") from None


def _place(text: str, reactor: IReactor) -> Place:
    if text.lower().startswith("wss:"):
        raise OptionError("with TLS, allowed is an endpoint such as ssl:9443:privateKey=key.pem:certKey=cert.pem")
    if _STDIO.match(text):
        raise OptionError(f"a server has many clients, stdin and stdout lead to one; {_PLACES}")
    try:
        return Place(text, server_endpoint(text, reactor))
    except ImportError as missing:
        raise OptionError(f"{missing}; TLS takes: pip install wsfactory[tls]") from missing
    except Exception as error:
        # Twisted's own words for what is missing or too much begin with a function's name.
        why = re.sub(r"^\w+\(\) ", "", str(error)) or type(error).__name__
        raise OptionError(f"{why}; {_PLACES}") from error


def _load_protocol(text: str) -> type[ServerProtocol]:
    return load_class(text, ServerProtocol)
