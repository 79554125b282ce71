"""The conformance harness itself: what makes a run of the Autobahn|Testsuite fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bench import Bench, Shard, deal, run_shard
from cases import CASE_COUNTS, select
from run import SKIPPED, USAGE, main
from tally import Outcome, Tally, judge, read_reports

FINE = Outcome("OK", "OK")


def judged(**outcomes: Outcome) -> Tally:
    """Return the tally of cases named like ``case_7_1_6``."""
    return judge("server", select(["7.1"]), {name[5:].replace("_", "."): outcome for name, outcome in outcomes.items()})


ALL_FINE = {f"case_7_1_{number}": FINE for number in range(1, 7)}


def test_core_is_what_the_suite_has_without_compression() -> None:
    core = select(["core"])

    assert len(core) == 301
    assert len([case for case in core if not case.startswith("9.")]) == 247
    assert len(select(["all"])) == 517 == sum(CASE_COUNTS.values())


@pytest.mark.parametrize(
    ("section", "cases"),
    [("7.5", ["7.5.1"]), ("6.4.1", ["6.4.1"]), ("10", ["10.1.1"]), ("2", [f"2.{number}" for number in range(1, 12)])],
)
def test_a_section_is_chosen_by_whole_numbers(section: str, cases: list[str]) -> None:
    """Section 1 is not section 10, and 6.2 is not 6.20."""
    assert select([section]) == cases


@pytest.mark.parametrize("section", ["8", "6.24", "1.1.9", "", "cor"])
def test_a_section_without_cases_is_refused(section: str) -> None:
    with pytest.raises(ValueError, match="no case in"):
        select([section])


def test_every_case_ok_is_no_fault() -> None:
    tally = judged(**ALL_FINE)

    assert not tally.faults
    assert tally.lines() == ["server: 6 cases: 6 OK: every case is fine"]


def test_a_missing_case_is_a_fault() -> None:
    """A case that the suite never ran is named, and counted as missing."""
    outcomes = dict(ALL_FINE)
    del outcomes["case_7_1_3"]
    tally = judged(**outcomes)

    assert tally.lines() == ["server: 6 cases: 5 OK, 1 MISSING: 1 not OK", "  MISSING: 7.1.3"]


@pytest.mark.parametrize("verdict", ["NON-STRICT", "FAILED", "INFORMATIONAL", "UNIMPLEMENTED", "WRONG CODE", "UNCLEAN"])
def test_any_other_outcome_than_ok_is_a_fault(verdict: str) -> None:
    """Both what the suite says of the messages and what it says of the closing count."""
    behavior = judged(**ALL_FINE | {"case_7_1_1": Outcome(verdict, "OK")})
    close = judged(**ALL_FINE | {"case_7_1_1": Outcome("OK", verdict)})

    assert list(behavior.faults) == list(close.faults) == ["7.1.1"]
    assert f"1 {verdict}" in close.lines()[0]


def test_informational_is_fine_where_the_suite_has_no_better() -> None:
    tally = judged(**ALL_FINE | {"case_7_1_6": Outcome("INFORMATIONAL", "INFORMATIONAL")})

    assert tally.lines() == ["server: 6 cases: 5 OK, 1 INFORMATIONAL: every case is fine"]


def test_a_case_that_nobody_asked_for_is_a_fault() -> None:
    tally = judged(**ALL_FINE, case_7_1_7=FINE)

    assert tally.faults == {"7.1.7": "NOT ASKED FOR"}


def test_reports_are_read_from_every_shard(tmp_path: Path) -> None:
    """A shard that left no report adds nothing, so that its cases are missing."""
    report = {"wsfactory": {"1.1.1": {"behavior": "OK", "behaviorClose": "FAILED", "duration": 2}}}
    (tmp_path / "index.json").write_text(json.dumps(report))

    assert read_reports([tmp_path / "index.json", tmp_path / "other.json"]) == {"1.1.1": Outcome("OK", "FAILED")}


def test_cases_are_dealt_out_whole() -> None:
    cases = select(["core"])
    hands = deal(cases, 4)

    assert sorted(case for hand in hands for case in hand) == sorted(cases)
    assert deal(["1.1.1"], 4) == [("1.1.1",)]


@pytest.mark.parametrize("role", ["server", "client"])
def test_a_testee_that_does_not_start_is_a_complaint_with_its_last_words(tmp_path: Path, role: str) -> None:
    died = ("sh", "-c", "echo no such protocol >&2; exit 3")
    bench = Bench(fuzzer=died, server=died, client=died, reports=tmp_path, patience_seconds=10)
    complaint = run_shard(bench, Shard(role, 1, ("1.1.1",)))

    assert complaint is not None
    assert complaint.startswith(f"{role}-1: ")
    assert "no such protocol" in complaint


def test_without_python_2_7_the_run_is_skipped_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The status differs from success."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))

    assert main(["--work", str(tmp_path)]) == SKIPPED
    assert capsys.readouterr().out.count("SKIPPED: no CPython 2.7 found") == 1


def test_an_unknown_section_ends_with_a_usage_status(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["--sections", "11"])

    assert status == USAGE
    assert "no case in '11'" in capsys.readouterr().err
