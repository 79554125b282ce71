"""Header fields as a value (RFC 9110 section 5); http11.py reads and writes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

__all__ = ["BLANK", "HeaderPairs", "Headers", "pairs_of"]

HeaderPairs = Mapping[str, str] | Iterable[tuple[str, str]]

REDACTED = frozenset({"cookie", "set-cookie", "authorization", "proxy-authorization"})

# RFC 9110 5.6.3.
BLANK = " \t"  # str.strip() without it also strips \x85 and \xa0, which are text here


class Headers:
    """Header fields in their order: an immutable, case-insensitive multi-map of str.

    Iterating gives (name, value) pairs, ``in`` asks for a name.  Values that came in several lines stay apart.
    """

    __slots__ = ("_pairs", "_values")

    def __init__(self, pairs: HeaderPairs = ()) -> None:
        self._pairs = tuple(pairs_of(pairs))
        self._values: dict[str, list[str]] = {}
        for name, value in self._pairs:
            self._values.setdefault(name.lower(), []).append(value)

    def get(self, name: str, default: str | None = None) -> str | None:
        """Return the first value of *name*."""
        values = self._values.get(name.lower())
        return values[0] if values else default

    def get_all(self, name: str) -> list[str]:
        """Return the value of every line of *name*, in order."""
        return list(self._values.get(name.lower(), ()))

    def tokens(self, name: str) -> list[str]:
        """Return the elements of a comma separated list over all lines of *name*; empty ones are dropped."""
        elements = (element.strip(BLANK) for value in self.get_all(name) for element in value.split(","))
        return [element for element in elements if element]

    def without(self, names: Iterable[str]) -> Headers:
        """Return the same fields, less those in *names*."""
        dropped = {name.lower() for name in names}
        return Headers((name, value) for name, value in self._pairs if name.lower() not in dropped)

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()][0]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._values

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def __eq__(self, other: object) -> bool:
        return self._folded() == other._folded() if isinstance(other, Headers) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._folded())

    def __repr__(self) -> str:
        shown = [(name, "..." if name.lower() in REDACTED else value) for name, value in self._pairs]
        return f"Headers({shown!r})"

    def _folded(self) -> tuple[tuple[str, str], ...]:
        return tuple((name.lower(), value) for name, value in self._pairs)


def pairs_of(headers: HeaderPairs) -> Iterator[tuple[str, str]]:
    """Iterate over (name, value) of what may be a mapping."""
    items = headers.items() if isinstance(headers, Mapping) else headers
    return ((name, value) for name, value in items)
