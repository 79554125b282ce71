"""Judge the reports of the Autobahn|Testsuite: which cases were not OK, and which were never run.

The suite's ``index.json`` files and the ids that were asked for go in; a Tally comes out.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cases import INFORMATIONAL

__all__ = ["Outcome", "Tally", "judge", "read_reports"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the suite says of one case: how the messages went, and how the connection was closed."""

    behavior: str
    close: str

    def is_fine(self, case: str) -> bool:
        """Return whether *case* may end like this."""
        allowed = {"OK", "INFORMATIONAL"} if case in INFORMATIONAL else {"OK"}
        return {self.behavior, self.close} <= allowed

    @property
    def worst(self) -> str:
        """One word for both."""
        return self.behavior if self.behavior != "OK" else self.close


@dataclass(frozen=True, slots=True)
class Tally:
    """The verdict on one role."""

    role: str
    outcomes: Counter[str]
    faults: Mapping[str, str]

    def lines(self) -> list[str]:
        """Return the tally in one line, then a line for each fault with the ids of its cases."""
        counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(self.outcomes.items(), key=_ok_first))
        total = sum(self.outcomes.values())
        verdict = f"{len(self.faults)} not OK" if self.faults else "every case is fine"
        faults = sorted(set(self.faults.values()))
        return [
            f"{self.role}: {total} cases: {counts}: {verdict}",
            *(f"  {fault}: {self._having(fault)}" for fault in faults),
        ]

    def _having(self, fault: str) -> str:
        return " ".join(case for case, its in self.faults.items() if its == fault)


def judge(role: str, expected: Iterable[str], outcomes: Mapping[str, Outcome]) -> Tally:
    """Compare the *outcomes* with the ids that were *expected*; a missing or an unexpected id is a fault."""
    wanted = dict.fromkeys(expected)
    verdicts = {case: _verdict(case, outcomes.get(case)) for case in wanted}
    verdicts |= {case: "NOT ASKED FOR" for case in outcomes if case not in wanted}
    counts = Counter(outcomes[case].worst if case in outcomes else "MISSING" for case in verdicts)
    return Tally(role, counts, {case: verdict for case, verdict in verdicts.items() if verdict})


def read_reports(indexes: Iterable[Path]) -> dict[str, Outcome]:
    """Return the outcomes in the given ``index.json`` files by case id; a file that is not there has none."""
    return {
        case: Outcome(result["behavior"], result["behaviorClose"])
        for index in indexes
        if index.is_file()
        for results in json.loads(index.read_text()).values()
        for case, result in results.items()
    }


def _verdict(case: str, outcome: Outcome | None) -> str:
    """Return what is wrong with the outcome, or nothing."""
    if outcome is None:
        return "MISSING"
    return "" if outcome.is_fine(case) else f"behavior {outcome.behavior}, close {outcome.close}"


def _ok_first(item: tuple[str, int]) -> tuple[bool, str]:
    return item[0] != "OK", item[0]
