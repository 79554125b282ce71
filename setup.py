"""What is compiled; all else about the package is in setup.cfg.

``wsfactory/_codec.py`` is compiled by Cython as it stands, with the types of ``_codec.pxd`` and the C functions of
``_payload.h``.  The Python sources are installed in any case.  The environment variable WSFACTORY_BUILD decides:

``auto``      compile where Cython and a C compiler are there, else install the Python sources only (the default)
``compiled``  compile, and fail where that is not possible
``pure``      compile nothing
"""

from __future__ import annotations

import os
import sys

from setuptools import setup

try:
    from Cython.Distutils import Extension, build_ext
except ImportError:
    build_ext = None

BUILDS = ("auto", "compiled", "pure")
OPTIMIZE = ["/O2"] if sys.platform == "win32" else ["-O3", "-g0"]


def wanted_build() -> str:
    """Return what WSFACTORY_BUILD says, checked."""
    build = os.environ.get("WSFACTORY_BUILD") or "auto"
    if build not in BUILDS:
        raise SystemExit(f"WSFACTORY_BUILD is {build!r}: allowed are {', '.join(BUILDS)}")
    return build


def parts_to_compile(build: str) -> dict[str, object]:
    """Return what *build* adds to the arguments of setup()."""
    if build == "pure" or (build == "auto" and build_ext is None):
        return {}
    if build_ext is None:
        raise SystemExit("WSFACTORY_BUILD is 'compiled', and Cython is not installed")
    codec = Extension(
        "wsfactory._codec",
        ["wsfactory/_codec.py"],
        depends=["wsfactory/_codec.pxd", "wsfactory/_payload.pxd", "wsfactory/_payload.h"],
        include_dirs=["wsfactory"],
        extra_compile_args=OPTIMIZE,
        # With "auto" a compiler that is not there, or fails, is only reported. (cythonize() would drop this.)
        optional=build == "auto",
        # The types are those of _codec.pxd; annotations are for mypy and for readers.
        cython_directives={"annotation_typing": False, "language_level": 3},
        cython_c_in_temp=True,
    )
    return {"ext_modules": [codec], "cmdclass": {"build_ext": build_ext}}


setup(**parts_to_compile(wanted_build()))
