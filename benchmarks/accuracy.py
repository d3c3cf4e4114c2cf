"""Small pretraining runs whose accuracies are compared."""

from collections.abc import Sequence
from pathlib import Path

from solo_adv.evaluation.evaluating import evaluate
from solo_adv.report.record import Report
from solo_adv.reproduce.plan import composed
from solo_adv.training.pretraining import pretrain


def pretrained(overrides: Sequence[str], seed: int, directory: Path, method: str = "cfamc") -> Path:
    """Pretrain in a new run below ``directory`` and return its last checkpoint."""
    fixed = (f"seed={seed}", "auto_resume.enabled=false", f"checkpoint.dir={directory}")
    checkpoint = pretrain(composed(method, [*overrides, *fixed]))
    assert checkpoint is not None
    return checkpoint


def knn_accuracy(checkpoint: Path) -> float:
    """kNN accuracy on the test images after the last epoch in percent, from the run's metrics."""
    header, *rows = (checkpoint.parent / "metrics.csv").read_text().splitlines()
    column = header.split(",").index("val_knn_acc1")
    return float([row.split(",")[column] for row in rows if row.split(",")[column]][-1])


def report_of(checkpoint: Path, overrides: Sequence[str]) -> Report:
    """Evaluate the robustness of the checkpoint."""
    cfg = composed("robust", overrides)
    # Names of checkpoints contain characters of Hydra's grammar, so they are not overrides.
    cfg.checkpoint, cfg.results_dir = str(checkpoint), str(checkpoint.parent / "results")
    report, _ = evaluate(cfg)
    return report
