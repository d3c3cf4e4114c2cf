"""The allocator of the process is left alone unless someone asks for it."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from solo_adv.support import allocator

# glibc counts the blocks that it takes from the system one by one, and would give back.
PROGRAM = """
import ctypes, sys

import torch

from solo_adv.crops import CropSpec, build
from solo_adv.support.allocator import keep_freed_memory

class Counts(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd",
        "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
    )]

libc = ctypes.CDLL(None)
if not hasattr(libc, "mallinfo2"):
    print("unknown")
    sys.exit()
libc.mallinfo2.restype = Counts
if sys.argv[1] == "asked":
    assert keep_freed_memory()
spec = CropSpec.preset("multi_crop", num_crops=2, size=8)
build(spec, "torch")(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
before = libc.mallinfo2().hblkhd
block = torch.empty(300 * 2**20, dtype=torch.uint8)
print("returned" if libc.mallinfo2().hblkhd > before else "kept")
"""


def test_windows_is_left_alone(monkeypatch):
    monkeypatch.setattr(allocator, "os", SimpleNamespace(name="nt"))
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: 1 / 0)
    assert allocator.keep_freed_memory.__wrapped__() is False


@pytest.mark.parametrize(
    ("asked", "expected"),
    [("not asked", "returned"), ("asked", "kept")],
)
def test_freed_memory_is_kept_only_if_asked(asked, expected):
    command = [sys.executable, "-c", PROGRAM, asked]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    if found == "unknown":
        pytest.skip("this C library does not count its blocks")
    assert found == expected
