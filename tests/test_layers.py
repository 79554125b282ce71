"""The plan of the house, read off the sources: which module may import which, and that each has its test."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import wsfactory

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "wsfactory"

# From the top down; within a layer imports must not go round in circles. "wsfactory" is the package's own __init__.
LAYERS = (
    {"wsfactory.__main__"},
    {"wsfactory.twisted", "wsfactory.asyncio", "wsfactory.testing", "wsfactory._memory"},
    {"wsfactory.sockets"},
    {
        "wsfactory",
        "wsfactory.session",
        "wsfactory.conversation",
        "wsfactory.factory",
        "wsfactory.opening",
        "wsfactory.opening_server",
        "wsfactory.dialing",
        "wsfactory.stream",
    },
    {
        "wsfactory.inbox",
        "wsfactory.outbox",
        "wsfactory.keepalive",
        "wsfactory.reconnect",
        "wsfactory.callbacks",
        "wsfactory.controls",
    },
    {"wsfactory.connection"},
    {
        "wsfactory.handshake",
        "wsfactory.handshake_client",
        "wsfactory.extensions",
        "wsfactory.proxy",
        "wsfactory.redirects",
        "wsfactory.deflate",
        "wsfactory._codec",
        "wsfactory.events",
    },
    {
        "wsfactory.http11",
        "wsfactory.bodies",
        "wsfactory.origins",
        "wsfactory.urls",
        "wsfactory.tls",
        "wsfactory.frames",
        "wsfactory.options",
        "wsfactory.flavour",
        "wsfactory.timing",
        "wsfactory._payload",
    },
    {"wsfactory.errors"},
    {"wsfactory.headers"},
)
FLAVOURS = 1
SOCKETS = 2
DEPTH = {module: depth for depth, layer in enumerate(LAYERS) for module in layer}

# What touches a socket or reads a clock, and the frameworks; from the session down all of it is handed in.
KEPT_OUT = {
    "asyncio", "datetime", "select", "selectors", "socket", "ssl", "time", "trio", "twisted", "txaio", "uvloop", "zope",
}  # fmt: skip


def name_of(path: Path) -> str:
    """Return the dotted name of a source file."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


SOURCES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports_of(module: str) -> Iterator[str]:
    """Yield the modules that *module* imports when it runs, wherever the statement stands."""
    for node in _run_time_nodes(ast.parse(SOURCES[module].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            yield from (_from(node.module or "", alias.name) for alias in node.names)


def _from(module: str, name: str) -> str:
    return f"{module}.{name}" if f"{module}.{name}" in SOURCES else module


def _run_time_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        yield node
        yield from _run_time_nodes(node)


def ours(module: str) -> set[str]:
    """Return the modules of this package that *module* imports."""
    return {name for name in imports_of(module) if name.split(".")[0] == "wsfactory"}


def depth_of(module: str) -> int:
    """Return the layer of *module*, or of the package that it is in, counted from the top."""
    name = module if module in DEPTH else module.rpartition(".")[0]
    assert name in DEPTH, f"{module} is in no layer: give it its place in LAYERS"
    assert name != "wsfactory" or module == name, f"{module} is in no layer: give it its place in LAYERS"
    return DEPTH[name]


def twins_of(module: str) -> list[Path]:
    """Return where the tests of *module* may be."""
    parts = [part.strip("_") for part in module.split(".")[1:]]
    return [ROOT / "tests" / f"test_{'_'.join(parts)}.py", ROOT.joinpath("tests", *parts[:-1], f"test_{parts[-1]}.py")]


@pytest.mark.parametrize("module", SOURCES)
def test_imports_point_down(module: str) -> None:
    """A module imports only what is in its own layer or below."""
    upward = [name for name in ours(module) if depth_of(name) < depth_of(module)]

    assert not upward


def test_imports_do_not_go_round_in_circles() -> None:
    graph = {module: ours(module) - {module} for module in SOURCES}

    assert set(TopologicalSorter(graph).static_order()) >= set(SOURCES)


@pytest.mark.parametrize("module", [module for module in SOURCES if depth_of(module) > SOCKETS])
def test_no_framework_socket_or_clock_from_the_session_down(module: str) -> None:
    kept_out = {name for name in imports_of(module) if name.split(".")[0] in KEPT_OUT}

    assert not kept_out


def test_the_flavours_do_not_know_each_other() -> None:
    twisted = {name for module in SOURCES if module.startswith("wsfactory.twisted") for name in imports_of(module)}
    asyncio = {name for module in SOURCES if module.startswith("wsfactory.asyncio") for name in imports_of(module)}

    assert not any(name.startswith(("wsfactory.asyncio", "asyncio")) for name in twisted)
    assert not any(name.startswith(("wsfactory.twisted", "twisted")) for name in asyncio)


def test_importing_the_package_imports_neither_framework() -> None:
    """Nor does it import txaio, which would choose one for the whole process."""
    tell = "import sys, wsfactory; print(*sorted({'asyncio', 'twisted', 'txaio'} & set(sys.modules)))"
    paths = os.pathsep.join([str(Path(wsfactory.__file__).parent.parent), *filter(None, sys.path)])
    told = subprocess.run(
        [sys.executable, "-c", tell], env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True, check=True
    )

    assert told.stdout.split() == []


def test_every_source_file_has_a_test_twin() -> None:
    """The tests of ``wsfactory/twisted/client.py`` are in ``tests/test_twisted_client.py``."""
    files = [module for module, path in SOURCES.items() if path.stem != "__init__"]
    alone = [module for module in files if not any(twin.is_file() for twin in twins_of(module))]

    assert not alone


def test_every_public_name_is_there() -> None:
    """``__all__`` of every module below the flavours, and of the package, names what exists, once."""
    for module in SOURCES:
        if depth_of(module) > SOCKETS:
            exec(f"from {module} import *", {})  # it raises for a name that is not there
            names = getattr(sys.modules[module], "__all__", [])
            assert len(names) == len(set(names)), module
