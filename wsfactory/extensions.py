"""Extensions as the opening handshake names them: header text to values and back (RFC 6455 section 9.1).

The values of Sec-WebSocket-Extensions go in; ``ExtensionOffer`` values come out, or ``Refused`` is raised.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from wsfactory.errors import Refused
from wsfactory.http11 import TOKEN, is_token, phrase

__all__ = ["ExtensionOffer", "parse_extensions"]

# Lists of the peer's become lists of objects: bounded, or 64 KiB of header would be megabytes of memory.
MAX_LIST = 128

_QUOTED = r'"(?:[^"\\]|\\.)*+"'
_PARAM = rf"[ \t]*;[ \t]*({TOKEN})(?:[ \t]*=[ \t]*({TOKEN}|{_QUOTED}))?"
_PARAMS = re.compile(_PARAM)
_EXTENSION = re.compile(rf"[ \t]*({TOKEN})((?:{_PARAM})*)[ \t]*(?:,|\Z)")
_EMPTY_ELEMENT = re.compile(r"[ \t]*(?:,|\Z)")


@dataclass(frozen=True, slots=True)
class ExtensionOffer:
    """One extension with its parameters, as offered or accepted; ``str()`` is its header text (section 9.1)."""

    name: str
    params: tuple[tuple[str, str | None], ...] = ()

    def __str__(self) -> str:
        values = (name if value is None else f"{name}={value}" for name, value in self.params)
        return "; ".join([self.name, *values])


def parse_extensions(values: Iterable[str]) -> tuple[ExtensionOffer, ...]:
    """Return the extensions in the *values* of all Sec-WebSocket-Extensions headers, in order (section 9.1).

    Raises ``Refused`` with status 400 for text outside of the grammar.  11.3.2: the header may appear several times,
    "which is logically the same as a single Sec-WebSocket-Extensions header field that contains all values".
    """
    lists = list(values)
    if sum(value.count(",") + value.count(";") for value in lists) > MAX_LIST:
        raise _refused("is too long")
    return tuple(offer for value in lists for offer in _parse_extension_list(value))


def _parse_extension_list(text: str) -> list[ExtensionOffer]:
    offers: list[ExtensionOffer] = []
    position = 0
    while position < len(text):
        match = _EXTENSION.match(text, position)
        if match is not None:
            offers.append(ExtensionOffer(match[1], _parse_params(match[2])))
        else:
            match = _EMPTY_ELEMENT.match(text, position)
        if match is None:
            raise _refused("cannot be understood")
        position = match.end()
    return offers


def _parse_params(text: str) -> tuple[tuple[str, str | None], ...]:
    return tuple((name, _unquoted(value)) for name, value in _PARAMS.findall(text))


def _unquoted(value: str) -> str | None:
    if not value.startswith('"'):
        return value or None
    plain = re.sub(r"\\(.)", r"\1", value[1:-1])
    # 9.1: "the value after quoted-string unescaping MUST conform to the 'token' ABNF"
    if not is_token(plain):
        raise _refused("has a quoted value that is no token")
    return plain


def _refused(fault: str) -> Refused:
    text = f"Sec-WebSocket-Extensions {fault}"
    return Refused(400, phrase(400), body=text + "\n", log=text)
