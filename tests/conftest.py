"""What every test run does: says which build is tested, and refuses to test another than the one asked for.

``--slow`` runs the tests marked slow too.  ``WSFACTORY_EXPECT=compiled|pure`` names the build that must be installed.
``WSFACTORY_LOOP=uvloop`` has asyncio, and Twisted's reactor on it (``--reactor=asyncio``), run on uvloop.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import wsfactory

BUILD = "compiled" if wsfactory.COMPILED else "pure"
CHECKOUT = Path(__file__).parent.parent
EXPECT = "WSFACTORY_EXPECT"
LOOP = os.environ.get("WSFACTORY_LOOP")

if LOOP == "uvloop":
    # Before pytest-twisted installs the reactor: with --reactor=asyncio it runs on whatever loop is made here.
    import asyncio

    import uvloop

    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --slow."""
    parser.addoption("--slow", action="store_true", help="run the slow tests too")


def pytest_report_header() -> str:
    """Say what is tested."""
    return f"wsfactory: {BUILD} build, COMPILED={wsfactory.COMPILED}, {wsfactory.__file__}; loop: {LOOP or 'asyncio'}"


def pytest_sessionstart() -> None:
    """Stop at once where the tests would say nothing about the build that was asked for."""
    if mistake := _mistake(os.environ.get(EXPECT)):
        pytest.exit(f"{mistake} ({wsfactory.__file__})", returncode=pytest.ExitCode.USAGE_ERROR)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip the slow tests, unless they are asked for."""
    if config.getoption("--slow") or "slow" in config.getoption("-m"):
        return
    skip = pytest.mark.skip(reason="slow: runs with --slow")
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(skip)


def _mistake(expected: str | None) -> str | None:
    if not expected:
        return None
    if expected not in {"compiled", "pure"}:
        return f"{EXPECT} is {expected!r}: allowed are compiled and pure"
    # A checkout on sys.path silently shadows the installed build: with "python -m pytest", or PYTHONPATH=.
    if Path(wsfactory.__file__).resolve().parent.parent == CHECKOUT.resolve():
        return f"{EXPECT} is {expected!r}, but wsfactory was imported from the checkout: run .venv/bin/pytest"
    if expected != BUILD:
        return f"{EXPECT} is {expected!r}, but the {BUILD} build is installed"
    return None
