"""A continued run has one log, and two runs of a process have two runs of W&B."""

import csv

from lightning.pytorch.loggers import WandbLogger

from solo_adv.training.loggers import RunLog, close


def rows(directory):
    """Step and loss of each row of the log."""
    with (directory / "metrics.csv").open() as file:
        return [(row["step"], row["loss"]) for row in csv.DictReader(file)]


def test_a_continued_log_has_every_step_once(tmp_path):
    log = RunLog(tmp_path)
    for step in range(4):
        log.log_metrics({"loss": float(step)}, step)
    log.save()
    again = RunLog(tmp_path)
    assert len(rows(tmp_path)) == 4  # nothing is lost if the run ends before it logs
    for step in (2, 3, 4):
        again.log_metrics({"loss": step + 0.5, "more": 1.0}, step)
    again.save()
    assert rows(tmp_path) == [("0", "0.0"), ("1", "1.0"), ("2", "2.5"), ("3", "3.5"), ("4", "4.5")]


def test_a_line_that_is_cut_off_is_left_out(tmp_path):
    (tmp_path / "metrics.csv").write_text("loss,step\n0.5,0\n0.2")
    RunLog(tmp_path)
    assert rows(tmp_path) == [("0", "0.5")]


def test_a_run_of_wandb_ends_with_its_run():
    ended = []

    class Wandb(WandbLogger):
        def __init__(self):
            pass

        @property
        def experiment(self):
            return self

        def finish(self):
            ended.append(self)

    first, second = Wandb(), Wandb()
    close([first])
    close([second])
    assert ended == [first, second]
