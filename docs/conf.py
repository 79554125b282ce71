"""Sphinx configuration; the state table and the option table are written from the code at each build."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from wsfactory import __version__
from wsfactory.connection import TRANSITIONS, Move, State
from wsfactory.options import Options

project = "wsfactory"
author = "the wsfactory developers"
copyright = f"2026, {author}"
release = version = __version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.intersphinx"]
exclude_patterns = ["_build"]
html_theme = "alabaster"
html_theme_options = {"description": "WebSocket protocols and factories", "fixed_sidebar": True}
intersphinx_mapping: dict[str, tuple[str, None]] = {}
autodoc_member_order = "bysource"
autodoc_typehints = "none"
nitpicky = False

HERE = Path(__file__).parent


def state_table() -> str:
    """Return the connection's state table as reStructuredText: a row a state, a column a move."""
    moves = list(Move)
    rows = [[state.name, *(_target(state, move) for move in moves)] for state in State]
    head = ["state", *(move.name for move in moves)]
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in [head, *rows]:
        lines += [f"   {'* -' if number == 0 else '  -'} {cell}" for number, cell in enumerate(row)]
    meanings = [f":{member.name}: {member.value}" for member in (*State, *moves)]
    return "\n".join([*lines, "", *meanings, ""])


def _target(state: State, move: Move) -> str:
    target = TRANSITIONS.get((state, move))
    return target.name if target is not None else ""


def option_defaults() -> str:
    """Return the defaults as they are in the code."""
    lines = [".. list-table::", "   :header-rows: 1", "", "   * - option", "     - default"]
    for option in fields(Options):
        lines += [f"   * - ``{option.name}``", f"     - ``{option.default!r}``"]
    return "\n".join([*lines, ""])


(HERE / "_generated").mkdir(exist_ok=True)
(HERE / "_generated" / "states.txt").write_text(state_table())
(HERE / "_generated" / "options.txt").write_text(option_defaults())
