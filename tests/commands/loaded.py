"""Runs commands and records which modules each has imported when it ends.

``python loaded.py RESULT.json`` reads JSON from standard input: the module and arguments of each
command. Every command runs in a fork of this process. This process has imported Hydra before, and
torch for the commands that may import it.
"""

import contextlib
import json
import os
import runpy
import sys
from importlib import import_module
from pathlib import Path
from typing import Any


def run(module: str, arguments: list[str]) -> int:
    """Run a module as ``python -m`` does, and return its exit status."""
    sys.argv = [module, *arguments]
    try:
        with (
            open(os.devnull, "w") as nowhere,
            contextlib.redirect_stdout(nowhere),
            contextlib.redirect_stderr(nowhere),
        ):
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def in_a_fork(module: str, *arguments: str) -> dict[str, Any]:
    """Run a command; return its exit status and the names of all modules imported at its end."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        with os.fdopen(writing, "w") as pipe:
            json.dump({"status": run(module, list(arguments)), "modules": list(sys.modules)}, pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        answer: dict[str, Any] = json.load(pipe)
    os.waitpid(child, 0)
    return answer


def main() -> None:
    """Run the commands that must not import torch, then those that may."""
    asked = json.load(sys.stdin)
    import_module("hydra")
    answers = {name: in_a_fork(*command) for name, command in asked["light"].items()}
    import_module("torch")
    answers |= {name: in_a_fork(*command) for name, command in asked["torch"].items()}
    Path(sys.argv[1]).write_text(json.dumps(answers))


if __name__ == "__main__":
    main()
