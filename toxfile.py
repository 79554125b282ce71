"""What tox.ini cannot say: where pyenv keeps its Pythons, and that the conformance suite needs a Python 2.7.

tox reads this file before it looks for interpreters; pyenv's own ``python3.12`` on PATH is a shim, which fails unless
that version is switched on.
"""

import os
import sys
from pathlib import Path

from tox.plugin import impl
from tox.tox_env.api import ToxEnv
from tox.tox_env.errors import Skip

PYENV = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
KEPT = [str(path) for path in sorted(PYENV.glob("versions/3.*/bin"))]

# At the end: what the user put on PATH comes first.
os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), *KEPT])

sys.path.append(str(Path(__file__).parent / "tests" / "conformance"))


@impl
def tox_before_run_commands(tox_env: ToxEnv) -> None:
    """Have tox itself say SKIP: an exit status of the command would be OK or FAIL."""
    from testsuite import find_python27

    if tox_env.conf.name.startswith("conformance") and find_python27() is None:
        raise Skip("there is no CPython 2.7 on PATH or under ~/.pyenv/versions; the Autobahn|Testsuite needs one")
