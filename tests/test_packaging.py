"""What is installed, and how: from a wheel, from an sdist, editable; compiled and pure.

Every way is tried as a user would: in a new virtual environment, the commands then run from ``/``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
NOT_SOURCES = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "*.so", "*.c", "build", "dist", "dropin.cache")

has_compiler = pytest.mark.skipif(not (shutil.which("cc") or shutil.which("gcc")), reason="needs a C compiler")
NO_COMPILER = {"CC": "/nonexistent/cc", "PATH": os.path.dirname(sys.executable)}


def run(*command: str | Path, env: Mapping[str, str] | None = None, cwd: Path = Path("/")) -> str:
    """Return the output of *command*, which must succeed; WSFACTORY_BUILD is only what *env* says."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("WSFACTORY_", "PYTHONPATH"))}
    done = subprocess.run(command, env=clean | dict(env or {}), cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def copy_of_the_sources(to: Path) -> Path:
    """Copy the checkout, so that nothing built before is found and nothing is left behind."""
    return Path(shutil.copytree(ROOT, to / "checkout", ignore=NOT_SOURCES))


def wheel_of(source: Path, to: Path, env: Mapping[str, str] | None = None) -> Path:
    """Build one wheel with pip, which must not take it from its cache."""
    pip = (sys.executable, "-m", "pip", "wheel", "--no-cache-dir", "--no-deps", "--verbose")
    run(*pip, "--wheel-dir", to, source, env=env)
    (wheel,) = to.glob("*.whl")
    return wheel


class Environment:
    """A virtual environment with nothing but what pip was told to install."""

    def __init__(self, directory: Path) -> None:
        run(sys.executable, "-m", "venv", directory)
        self.bin = directory / "bin"

    def install(self, *what: str | Path, env: Mapping[str, str] | None = None) -> None:
        run(self.bin / "pip", "install", *what, env=env)

    def build(self) -> str:
        """Return which build is imported."""
        return run(self.bin / "python", "-c", "import wsfactory; print(wsfactory.COMPILED)").strip()

    def plugins(self) -> str:
        """Return what twistd offers."""
        return run(self.bin / "twistd", "--help")


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return an sdist, and a wheel that was built from that sdist."""
    directory = tmp_path_factory.mktemp("distributions")
    run(sys.executable, "-m", "build", "--outdir", directory / "dist", copy_of_the_sources(directory))
    (sdist,), (wheel,) = directory.glob("dist/*.tar.gz"), directory.glob("dist/*.whl")
    return sdist, wheel


@has_compiler
def test_a_wheel_is_compiled_and_twistd_lists_the_service(distributions: tuple[Path, Path], tmp_path: Path) -> None:
    environment = Environment(tmp_path)
    environment.install(distributions[1])

    assert environment.build() == "True"
    assert "wsfactory" in environment.plugins()


def test_an_sdist_installs_pure_and_twistd_lists_the_service(distributions: tuple[Path, Path], tmp_path: Path) -> None:
    environment = Environment(tmp_path / "environment")
    environment.install(wheel_of(distributions[0], tmp_path, {"WSFACTORY_BUILD": "pure"}))

    assert environment.build() == "False"
    assert "wsfactory" in environment.plugins()


def test_the_editable_mode_that_works_is_compat(tmp_path: Path) -> None:
    """The others lose ``twisted.plugins``, or do not see new files; CONTRIBUTING.rst names this one."""
    environment = Environment(tmp_path / "environment")
    checkout = copy_of_the_sources(tmp_path)
    environment.install("--config-settings", "editable_mode=compat", "--editable", checkout)

    assert "wsfactory" in environment.plugins()
    assert str(checkout) in run(environment.bin / "python", "-c", "import wsfactory; print(wsfactory.__file__)")


def test_both_distributions_carry_what_a_rebuild_needs(distributions: tuple[Path, Path]) -> None:
    """And Twisted's own ``twisted.plugins`` is not hidden by an ``__init__.py`` of ours."""
    sdist, wheel = distributions
    with tarfile.open(sdist) as archive:
        in_sdist = {name.partition("/")[2] for name in archive.getnames()}
    in_wheel = set(zipfile.ZipFile(wheel).namelist())
    needed = {
        str(path.relative_to(ROOT))
        for pattern in ("*.py", "*.pxd", "*.h")
        for path in (ROOT / "wsfactory").rglob(pattern)
    }
    needed |= {"wsfactory/py.typed", "twisted/plugins/wsfactory_plugin.py"}

    assert needed <= in_wheel
    assert (
        needed | {"setup.py", "setup.cfg", "pyproject.toml", "README.rst", "LICENSE", "tests/conftest.py"} <= in_sdist
    )
    assert "twisted/plugins/__init__.py" not in in_wheel | in_sdist


def test_without_a_compiler_the_same_sources_install_pure(tmp_path: Path) -> None:
    """``auto`` reports that there is no compiler, and goes on."""
    wheel = wheel_of(copy_of_the_sources(tmp_path), tmp_path, NO_COMPILER | {"WSFACTORY_BUILD": "auto"})

    assert "wsfactory/_codec.py" in zipfile.ZipFile(wheel).namelist()
    assert not [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".so")]


def test_a_pure_wheel_fits_every_python_3(tmp_path: Path) -> None:
    wheel = wheel_of(copy_of_the_sources(tmp_path), tmp_path, {"WSFACTORY_BUILD": "pure"})

    assert wheel.name.endswith("-py3-none-any.whl")


@pytest.mark.parametrize(
    ("env", "complaint"),
    [
        (NO_COMPILER | {"WSFACTORY_BUILD": "compiled"}, "/nonexistent/cc"),
        ({"WSFACTORY_BUILD": "fast"}, "WSFACTORY_BUILD is 'fast': allowed are auto, compiled, pure"),
    ],
)
def test_a_build_that_cannot_be_had_is_an_error(tmp_path: Path, env: dict[str, str], complaint: str) -> None:
    with pytest.raises(AssertionError) as failed:
        wheel_of(copy_of_the_sources(tmp_path), tmp_path, env)

    assert complaint in str(failed.value)
