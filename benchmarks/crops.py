"""Crops a second and memory of every backend, beside the reference's PIL way.

``python -m benchmarks.crops [--sizes 32 224] [--views 2 16 64] [--backends ...] [--seconds 2]``

Each line is measured in a process of its own, so that its peak memory is its own. Crops of 32
pixels are cut from images in memory, of 224 pixels from 256-pixel JPEG files, decoding included.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.crop_ways import SOURCE_SIZES, WAYS, stream, write_files
from benchmarks.record import store
from solo_adv.crops.dali import import_dali
from solo_adv.errors import UserError

CORES = 2
WINDOWS = 5
BASELINE = f"pil in {CORES} workers"


def measure(
    way: str, *, size: int, views: int, cores: int, folder: Path, seconds: float
) -> dict[str, Any]:
    """Crops a second (median of ``WINDOWS`` windows of ``seconds``) and peak memory."""
    torch.set_num_threads(cores)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    before = _peak_mib()
    batches = stream(way, size=size, views=views, cores=cores, folder=folder, device=device)
    for _ in range(4):  # workers started, kernels compiled, queues full
        next(batches)
    rates = []
    for _ in range(WINDOWS):
        made, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            made += next(batches)
        if device.type == "cuda":
            torch.cuda.synchronize()
        rates.append(made / (time.perf_counter() - start))
    batches.close()
    workers = cores if cores > 1 and (way == "pil" or size == 224) and way != "dali" else 0
    result = {
        "backend": way,
        "size": size,
        "views": views,
        "cores": cores,
        "worker_processes": workers,
        "device": "cpu" if way == "pil" else device.type,
        "crops_per_second": statistics.median(rates),
        "slowest_window": min(rates),
        "fastest_window": max(rates),
        "peak_mib": _peak_mib(),
        "peak_mib_beyond_imports": _peak_mib() - before,
    }
    if device.type == "cuda":
        result["peak_gpu_mib"] = torch.cuda.max_memory_allocated() / 2**20
    return result


def _peak_mib() -> float:
    # Not getrusage: there a new process begins with the peak of the one that started it.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _in_new_process(settings: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.crops", "--one", json.dumps(settings)]
    # As many threads as asked, also in libraries that read it when they are loaded.
    environment = {**os.environ, "OMP_NUM_THREADS": str(settings["cores"])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{settings} failed:\n{done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _has_dali() -> bool:
    try:
        import_dali()
    except UserError as error:
        print(f"Without DALI: {error}")
        return False
    return True


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sizes = sorted(SOURCE_SIZES)
    parser.add_argument("--sizes", type=int, nargs="+", choices=sizes, default=sizes)
    parser.add_argument("--views", type=int, nargs="+", default=[2, 16, 64])
    parser.add_argument("--backends", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a window")
    parser.add_argument("--output", type=Path, help="of the result (JSON)")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure everything asked in one run, print the table, store the result."""
    options = _parse()
    if options.one:
        settings = json.loads(options.one)
        settings["folder"] = Path(settings["folder"])
        print(json.dumps(measure(settings.pop("way"), **settings)))
        return
    ways = [way for way in options.backends if way != "dali" or _has_dali()]
    ways = ["pil", *(way for way in ways if way != "pil")]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        write_files(Path(folder))
        for size in options.sizes:
            for views in options.views:
                # The baseline first: what follows is compared with it.
                cases = [("pil", CORES), ("pil", 1)]
                cases += [(way, cores) for way in ways[1:] for cores in (CORES, 1)]
                baseline = None
                for way, cores in cases:
                    settings = {"way": way, "size": size, "views": views, "cores": cores}
                    row = _in_new_process(
                        {**settings, "folder": folder, "seconds": options.seconds}
                    )
                    baseline = baseline or row["crops_per_second"]
                    row["ratio"] = row["crops_per_second"] / baseline
                    rows.append(row)
                    print(
                        f"{size:3} px, {views:2} views, {way:14} on {cores} cores: "
                        f"{row['crops_per_second']:9,.0f} crops/s, "
                        f"{row['ratio']:5.2f} x {BASELINE}, "
                        f"{row['peak_mib']:6,.0f} MiB",
                        flush=True,
                    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    result = {
        "benchmark": "crops",
        "baseline": BASELINE,
        "windows": WINDOWS,
        "seconds_per_window": options.seconds,
        "dali": import_dali().__version__ if "dali" in ways else None,
        "rows": rows,
    }
    print(store(f"crops_{device}", result, options.output))


if __name__ == "__main__":
    main()
