"""``python -m solo_adv.benchmark checkpoint=PATH [protocols=[slf,alf,aff]] [recipe=NAME] ...``"""

import shlex

from omegaconf import DictConfig

from solo_adv.support.cli import run_app
from solo_adv.support.progress import say


def _run(cfg: DictConfig) -> None:
    from solo_adv.benchmark.record import page
    from solo_adv.benchmark.running import run
    from solo_adv.support.processes import process_group

    with process_group():
        benchmark, files = run(cfg)
    if files:
        print(page(benchmark))
    for file in files.values():
        print(file)
    if files:
        say(f"Next: python -m solo_adv.report {shlex.quote(str(cfg.results_dir))}")


def main() -> None:
    """The command line."""
    run_app(_run, config_name="benchmark", short={"data": "data.dataset"})


if __name__ == "__main__":
    main()
