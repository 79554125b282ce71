"""What toxfile.py adds to tox: a conformance run that lacks its Python 2.7 is skipped, and counted as that."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import testsuite

Skip = pytest.importorskip("tox.tox_env.errors", reason="needs tox").Skip


@pytest.fixture
def toxfile(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Load it as tox does; what it does to this process is undone."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PATH", os.environ["PATH"])
    spec = importlib.util.spec_from_file_location("toxfile", Path(__file__).parent.parent / "toxfile.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def environment(name: str) -> SimpleNamespace:
    return SimpleNamespace(conf=SimpleNamespace(name=name))


@pytest.mark.parametrize("name", ["conformance", "conformance-pure"])
def test_without_python_2_7_conformance_is_skipped(
    toxfile: ModuleType, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(testsuite, "find_python27", lambda: None)

    with pytest.raises(Skip, match=r"no CPython 2\.7"):
        toxfile.tox_before_run_commands(environment(name))


def test_nothing_else_is_skipped(toxfile: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(testsuite, "find_python27", lambda: None)

    assert toxfile.tox_before_run_commands(environment("py311-pure")) is None

    monkeypatch.setattr(testsuite, "find_python27", lambda: Path("/usr/bin/python2.7"))

    assert toxfile.tox_before_run_commands(environment("conformance")) is None
