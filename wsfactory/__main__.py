"""A WebSocket client for the terminal: ``python -m wsfactory ws://127.0.0.1:8080/``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from typing import TextIO, TypeVar

import wsfactory
from wsfactory.errors import OptionError
from wsfactory.twisted.command_line import naming_the_option, one_line, parse_header, parse_subprotocol
from wsfactory.urls import parse_url

__all__ = ["main"]

T = TypeVar("T")

_MORE = """
Lines that you type are sent as text messages; messages that come are printed, one in each line, with their control
characters escaped. Ctrl-D closes the connection. Lines may come from a pipe or a file, too: at their end it closes
once no answer has come for a second, after ten at the latest.

exit status: 0 - it went well; 1 - refused, failed, or closed by the server with an error, which stderr tells;
2 - the command line is wrong.

examples:
  python -m wsfactory ws://127.0.0.1:8080/
  python -m wsfactory ws://127.0.0.1:8080/ --message hello
  python -m wsfactory wss://example.com/chat --header 'Authorization: Bearer abc' --ping 5
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program with *arguments*; returns its exit status.  Raises ``SystemExit(2)`` for a bad command line."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    # Only now, so that a bad command line is told at once.
    from wsfactory.twisted.screen import Screen
    from wsfactory.twisted.terminal import Asked, run

    screen = Screen(_stream(sys.stdout), _stream(sys.stderr), _isatty(sys.stdin) and _isatty(sys.stdout))
    headers, subprotocols = tuple(asked.header), tuple(asked.subprotocol)
    piped = not _isatty(sys.stdin)
    try:
        return run(Asked(asked.url, asked.message, asked.ping, headers, subprotocols, asked.insecure, piped), screen)
    except OptionError as error:
        # Each value is fine, but not all of them together.
        parser.error(naming_the_option(error))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m wsfactory",
        description="Talk to a WebSocket server.",
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    build = "compiled" if wsfactory.COMPILED else "pure Python"
    add("url", metavar="URL", type=_checked(_url), help="where to connect: ws://, wss:// or ws+unix://")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--message", metavar="TEXT", type=_checked(_text), help="send TEXT, print the answer, exit")
    what.add_argument("--ping", metavar="N", type=_checked(_count), default=0, help="print N round-trip times, exit")
    add("--header", metavar="'NAME: VALUE'", type=_checked(parse_header), action="append", default=[],
        help="a header for the request; may be repeated")  # fmt: skip
    add("--subprotocol", metavar="NAME", type=_checked(parse_subprotocol), action="append", default=[],
        help="a subprotocol to offer; may be repeated")  # fmt: skip
    add("--insecure", action="store_true", help="accept any certificate of a wss:// server")
    add("--version", action="version", version=f"wsfactory {wsfactory.__version__} ({build} codec)")
    return parser


def _checked(parse: Callable[[str], T]) -> Callable[[str], T]:
    """Return *parse* as argparse wants it: it shows the text of this exception only."""

    def checked(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(one_line(error)) from None

    return checked


def _url(text: str) -> str:
    parse_url(text)
    return text


def _text(text: str) -> str:
    text.encode()
    return text


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise ValueError(f"{text!r} is not a whole number, 1 or more")
    return int(text)


def _stream(stream: TextIO | None) -> TextIO:
    """Return *stream*, such that it can write any text; one that was closed from the start is None."""
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return stream


def _isatty(stream: object) -> bool:
    return stream is not None and bool(getattr(stream, "isatty", bool)())


if __name__ == "__main__":
    sys.exit(main())
