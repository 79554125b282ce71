"""Let tox find the Pythons that pyenv keeps: it reads this file before it looks for interpreters.

pyenv's own ``python3.12`` on PATH is a shim, which fails unless that version is switched on.
"""

import os
from pathlib import Path

PYENV = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
KEPT = [str(path) for path in sorted(PYENV.glob("versions/3.*/bin"))]

# At the end: what the user put on PATH comes first.
os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), *KEPT])
