"""The environment of the Autobahn|Testsuite, which needs CPython 2.7: found, made once, and kept.

A directory goes in; the path of a Python 2.7 that can import ``autobahntestsuite`` comes out.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["ensure_environment", "find_python27"]

# virtualenv 20.22 dropped Python 2.7.
VIRTUALENV = "virtualenv<20.22"
SUITE = "autobahntestsuite==25.10.1"
# The last releases that the suite works with on Python 2.7.
PINS = (
    "attrs==21.4.0",
    "Automat==22.10.0",
    "cffi==1.15.1",
    "cryptography==3.3.2",
    "pyOpenSSL==19.1.0",
    "Twisted==19.10.0",
    "Werkzeug==1.0.1",
    "klein==17.10.0",
    "zope.interface==4.6.0",
)


def find_python27() -> Path | None:
    """Return a working CPython 2.7: python2.7 of PATH, or one of pyenv's; None where there is none."""
    return next(filter(_is_python27, _candidates()), None)


def ensure_environment(directory: Path, python27: Path) -> Path:
    """Return the Python of the suite's environment in *directory*, made there unless a finished one is found.

    Takes about 30 s the first time; needs a package index and a C compiler.
    Raises ``subprocess.CalledProcessError`` where a step fails.
    """
    wanted = "\n".join([str(python27), VIRTUALENV, SUITE, *PINS])
    finished = directory / "finished"
    python = directory / "python27" / "bin" / "python"
    if not (finished.is_file() and finished.read_text() == wanted):
        shutil.rmtree(directory, ignore_errors=True)
        _make(directory, python27)
        finished.write_text(wanted)
    return python


def _candidates() -> list[Path]:
    found = shutil.which("python2.7")
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    return [*([Path(found)] if found else []), *sorted(pyenv.glob("versions/2.7*/bin/python2.7"))]


def _is_python27(path: Path) -> bool:
    # A shim of pyenv is an executable file whether or not its version is switched on.
    asked = "import platform, sys; print(platform.python_implementation(), sys.version_info[:2])"
    answer = subprocess.run([path, "-c", asked], capture_output=True, text=True, check=False)
    return answer.stdout.strip() == "('CPython', (2, 7))"


def _make(directory: Path, python27: Path) -> None:
    maker, made = directory / "virtualenv" / "bin", directory / "python27"
    constraints = directory / "constraints.txt"
    _run(sys.executable, "-m", "venv", maker.parent)
    constraints.write_text("\n".join(PINS) + "\n")
    _run(maker / "pip", "install", "--quiet", VIRTUALENV)
    _run(maker / "virtualenv", "--quiet", "--python", python27, made)
    _run(made / "bin" / "pip", "install", "--quiet", "--constraint", constraints, SUITE)


def _run(*command: str | Path) -> None:
    # pip says on every line of Python 2.7 that it is deprecated: shown only where a step fails.
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        done.check_returncode()
