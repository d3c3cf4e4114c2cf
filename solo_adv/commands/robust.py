"""How robust is an encoder? ``main_robust.py checkpoint=PATH [linear=robust] [key=value ...]``.

``torchrun --nproc-per-node N main_robust.py ...`` uses several devices and has the same result.
"""

import shlex
from typing import Any

from omegaconf import DictConfig

from solo_adv.support.cli import run_app
from solo_adv.support.configs import next_command
from solo_adv.support.progress import say


def _run(cfg: DictConfig) -> dict[str, Any]:
    from solo_adv.evaluation.evaluating import evaluate
    from solo_adv.report.markdown import page
    from solo_adv.support.processes import process_group

    with process_group():
        report, files = evaluate(cfg)
    if files:
        print(page(report))
    for file in files.values():
        print(file)
    if files and cfg.checkpoint is not None and cfg.linear == "standard":
        say(f"Next: {next_command('robust', f'checkpoint={cfg.checkpoint}', 'linear=robust')}")
    elif files:
        say(f"Next: python -m solo_adv.report {shlex.quote(str(cfg.results_dir))}")
    return {label: 100 * found.accuracy for label, found in report.by_label.items()}


def main() -> None:
    """The command line."""
    run_app(_run, config_name="robust", short={"data": "data.dataset"})


if __name__ == "__main__":
    main()
