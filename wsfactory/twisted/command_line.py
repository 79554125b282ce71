"""What people type on a command line: text goes in, what factories take comes out.

Each function raises ``OptionError`` (or another ``ValueError``) whose text says what is allowed, in one line once it
went through ``one_line``.
"""

from __future__ import annotations

import ast
import importlib
import os
import re
import sys
from traceback import extract_tb
from types import ModuleType
from typing import TypeVar

from wsfactory.errors import MalformedHead, OptionError
from wsfactory.handshake_client import ask
from wsfactory.http11 import is_token, parse_field
from wsfactory.options import Options, changed
from wsfactory.urls import parse_url

__all__ = ["load_class", "naming_the_option", "one_line", "parse_header", "parse_option", "parse_subprotocol"]

T = TypeVar("T")

_WORDS = {"none": None, "true": True, "false": False}
# Options that take a list of texts, and the words which they take instead of one.
_LISTS = {"allowedOrigins": ("same-origin", "*"), "trustedProxies": ()}
# What a factory's complaint begins with, and the option of the command line that it is about.
_ARGUMENTS = {"subprotocols": "--subprotocol", "headers": "--header", "option": "--option"}


def parse_option(text: str) -> tuple[str, object]:
    """Return the name and the value of ``name=value``, as ``setProtocolOptions`` takes and checks them.

    A value is none, true, false, a number, a pair ``high,low``, for ``allowedOrigins`` a list ``origin,origin``; any
    other Python literal is taken as that, and the rest as text.
    """
    name, equals, value = text.partition("=")
    if not equals:
        raise OptionError("allowed is name=value, like maxQueue=100")
    parsed = _value(name.strip(), value.strip())
    changed(Options(), {name.strip(): parsed})
    return name.strip(), parsed


def _value(name: str, text: str) -> object:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        pass
    if name in _LISTS and text not in _LISTS[name]:
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def parse_header(text: str) -> tuple[str, str]:
    """Return the name and the value of ``Name: value``; the handshake's own headers are refused."""
    try:
        pair = parse_field(text or " ")
        # A handshake that is never sent tells whether one with this header can be.
        ask(parse_url("ws://localhost/"), headers=[pair]).encode()
    except (MalformedHead, ValueError) as error:
        raise OptionError(f"{error}; allowed is 'Name: value', where Name is not one of the handshake's own") from None
    return pair


def parse_subprotocol(text: str) -> str:
    """Return *text* if it can be the name of a subprotocol (RFC 6455 section 4.1)."""
    if not is_token(text):
        raise OptionError("allowed is a name of letters, digits and !#$%&'*+-.^_`|~, like chat.v1")
    return text


def load_class(text: str, base: type[T]) -> type[T]:
    """Import ``package.module:Class``, from the current directory too; a subclass of *base* that takes no arguments."""
    module_name, _, name = text.partition(":")
    if not (module_name and name.isidentifier()):
        raise OptionError("allowed is package.module:Class, like chat.server:Chat")
    found = getattr(_load_module(module_name), name, None)
    wanted = f"a subclass of {base.__module__.rpartition('.')[0]}.{base.__name__}"
    if found is None:
        raise OptionError(f"the module {module_name} has no {name}; allowed is package.module:Class, {wanted}")
    if not (isinstance(found, type) and issubclass(found, base)):
        raise OptionError(f"{name} is not {wanted}")
    _try_to_make(found)
    return found


def _try_to_make(found: type) -> None:
    """Make one, as a factory will; otherwise the first connection would be the first to notice."""
    try:
        found()
    except (Exception, SystemExit) as error:
        why = f"{found.__name__}() failed: {type(error).__name__}: {error}{_place(error)}"
        raise OptionError(f"{why}; allowed is a class whose instances are made without arguments") from error


def _load_module(name: str) -> ModuleType:
    # Where "python -m" looks first, twistd does not look at all.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise OptionError(f"importing {name} failed: {type(error).__name__}: {error}{_place(error)}") from error


def _place(error: BaseException) -> str:
    """Return where *error* comes from, if that is in a file, and in none of the import system's own."""
    # The first frame is our own.
    names = [(frame.filename, frame.lineno) for frame in extract_tb(error.__traceback__)[1:]]
    theirs = [name for name in names if not name[0].startswith(("<frozen ", str(importlib.__file__)))]
    return f" ({theirs[-1][0]}, line {theirs[-1][1]})" if theirs else ""


def naming_the_option(error: OptionError) -> str:
    """Return the one line of a factory's complaint about values that were fine one by one."""
    text = one_line(error)
    option = _ARGUMENTS.get(re.split(r"\W", text)[0])
    return f"{option}: {text}" if option else text


def one_line(error: object) -> str:
    """Return the text of *error* without line breaks, and without anything else that a terminal might obey."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in " ".join(str(error).split()))
