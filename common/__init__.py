"""What the parts share. Every script imports from here before it imports PyTorch."""

import os
import sys

# OpenMP's threads would wait for each other at full speed, which costs several times the time where other programs
# need the cores too; it reads this when PyTorch is loaded
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def import_from(folder):
    """Makes `import` look into `folder` first, and forget files of the same names from elsewhere.

    Parts have model files of the same name, and a notebook may have run another part before.
    """
    sys.path.insert(0, str(folder))
    for file in folder.glob("*.py"):
        sys.modules.pop(file.stem, None)
