"""Register the checkout as the package `endless_talk`, whatever its folder is called."""

import importlib.util
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models are ten times slower on two threads

ROOT = Path(__file__).resolve().parents[1]

if "endless_talk" not in sys.modules:
    spec = importlib.util.spec_from_file_location(
        "endless_talk", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    package = importlib.util.module_from_spec(spec)
    sys.modules["endless_talk"] = package
    spec.loader.exec_module(package)

import torch  # noqa: E402  (after OMP_NUM_THREADS)

torch.set_num_threads(1)
