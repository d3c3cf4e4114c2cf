"""How robust is an encoder? ``main_robust.py checkpoint=PATH [linear=robust] [key=value ...]``.

``torchrun --nproc-per-node N main_robust.py ...`` uses several devices and has the same result.
"""

from omegaconf import DictConfig

from solo_adv.support.cli import run_app


def _run(cfg: DictConfig) -> None:
    from solo_adv.evaluation.evaluating import evaluate
    from solo_adv.report.markdown import page
    from solo_adv.support.processes import process_group

    with process_group():
        report, files = evaluate(cfg)
    if files:
        print(page(report))
    for file in files.values():
        print(file)


def main() -> None:
    """The command line."""
    run_app(_run, config_name="robust", short={"data": "data.dataset"})


if __name__ == "__main__":
    main()
