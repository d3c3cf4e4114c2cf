"""Shared by all tests: where solo-learn is, and few threads on small problems."""

import os
import sys

import torch

torch.set_num_threads(1)

_ROOT = os.environ.get("SOLO_LEARN_ROOT")
if _ROOT:
    sys.path.insert(0, _ROOT)
