"""The cases of the Autobahn|Testsuite 25.10.1: their ids, by section.

Written down here, and not asked from the suite, so that a case which was never run is missed.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["ALIASES", "CASE_COUNTS", "INFORMATIONAL", "select"]

# Cases are numbered from 1 in each of these.
CASE_COUNTS = {
    "1.1": 8, "1.2": 8,
    "2": 11,
    "3": 7,
    "4.1": 5, "4.2": 5,
    "5": 20,
    "6.1": 3, "6.2": 4, "6.3": 2, "6.4": 4, "6.5": 5, "6.6": 11, "6.7": 4, "6.8": 2, "6.9": 4, "6.10": 3, "6.11": 5,
    "6.12": 8, "6.13": 5, "6.14": 10, "6.15": 1, "6.16": 3, "6.17": 5, "6.18": 5, "6.19": 5, "6.20": 7, "6.21": 8,
    "6.22": 34, "6.23": 7,
    "7.1": 6, "7.3": 6, "7.5": 1, "7.7": 13, "7.9": 9, "7.13": 2,
    "9.1": 6, "9.2": 6, "9.3": 9, "9.4": 9, "9.5": 6, "9.6": 6, "9.7": 6, "9.8": 6,
    "10.1": 1,
    "12.1": 18, "12.2": 18, "12.3": 18, "12.4": 18, "12.5": 18,
    "13.1": 18, "13.2": 18, "13.3": 18, "13.4": 18, "13.5": 18, "13.6": 18, "13.7": 18,
}  # fmt: skip

# What the suite only reports, because RFC 6455 leaves it open; nothing can be better there.
INFORMATIONAL = frozenset({"7.1.6", "7.13.1", "7.13.2"})

ALIASES = {
    "core": ("1", "2", "3", "4", "5", "6", "7", "9", "10"),
    "compression": ("12", "13"),
    "all": ("1", "2", "3", "4", "5", "6", "7", "9", "10", "12", "13"),
}


def select(sections: Iterable[str]) -> list[str]:
    """Return the ids in *sections*: ``"6"``, ``"6.4"``, ``"6.4.1"``, or a name of ``ALIASES``; in the suite's order.

    Raises ``ValueError`` for a section that has no case.
    """
    chosen: set[str] = set()
    for section in _expand(sections):
        found = {case for case in _ALL if case == section or case.startswith(section + ".")}
        if not found:
            raise ValueError(f"the suite has no case in {section!r}: a section is 6, 6.4, 6.4.1, {', '.join(ALIASES)}")
        chosen |= found
    return [case for case in _ALL if case in chosen]


def _expand(sections: Iterable[str]) -> list[str]:
    return [single for section in sections for single in ALIASES.get(section, (section,))]


_ALL = [f"{section}.{number}" for section, count in CASE_COUNTS.items() for number in range(1, count + 1)]
