"""Reports reach TensorBoard and W&B whole, and a second time replaces the first."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from solo_adv.report.entries import read_entry
from solo_adv.report.sending import COLUMNS, rows, to_tensorboard, to_wandb
from solo_adv.support.errors import UserError
from tests.report.reports import make_report


@pytest.fixture
def entry(tmp_path):
    """A written report with a picture."""
    directory = tmp_path / "results" / "cfamc" / "one" / "ep9-digits"
    directory.mkdir(parents=True)
    file = directory / "report.json"
    file.write_text(json.dumps(make_report(pretrain_config={"name": "one"}).to_dict()))
    Image.new("RGB", (4, 3), (255, 0, 0)).save(directory / "report.png")
    return read_entry(file)


def test_a_row_has_accuracy_interval_and_images(entry):
    label, accuracy, low, high, images = rows(entry.report)[-1]
    assert (label, accuracy, images) == ("PGD-20 at 8/255", 20.0, 1000)
    assert low < accuracy < high
    assert len(rows(entry.report)[0]) == len(COLUMNS)


def test_tensorboard_shows_every_figure_once(entry, tmp_path):
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="pip install 'solo-adv[tensorboard]'",
    )
    for _ in range(2):
        (folder,) = to_tensorboard([entry], tmp_path / "log")
    assert folder == tmp_path / "log" / "cfamc" / "one" / "ep9-digits"
    assert len(list(folder.iterdir())) == 1
    held = reader.EventAccumulator(str(folder)).Reload()
    shown = {tag: held.Scalars(tag)[0].value for tag in held.Tags()["scalars"]}
    assert len(shown) == len(entry.report.measurements)
    assert held.Tags()["images"] == ["report"]


def test_wandb_gets_table_picture_settings_and_the_same_run_again(entry, monkeypatch):
    begun, logged, ended = [], [], []
    run = SimpleNamespace(log=logged.append, finish=lambda: ended.append(True))
    module = SimpleNamespace(
        init=lambda **given: begun.append(given) or run,
        Table=lambda columns, data: (columns, data),
        Image=np.shape,
    )
    monkeypatch.setitem(sys.modules, "wandb", module)
    for _ in range(2):
        assert to_wandb([entry], "mine") == ["cfamc/one/ep9-digits"]
    assert begun[0] == begun[1]
    assert begun[0]["project"] == "mine"
    assert begun[0]["config"]["steps"] == entry.report.config["steps"]
    assert logged[0]["report"] == (list(COLUMNS), rows(entry.report))
    assert logged[0]["clean"] == 70.0
    assert logged[0]["picture"] == (3, 4, 3)
    assert len(ended) == 2


def test_what_hinders_is_said_in_one_line(entry, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match=r"pip install 'solo-adv\[wandb\]'"):
        to_wandb([entry], "mine")

    def unreachable(**given):
        raise RuntimeError("no\nroute")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=unreachable))
    with pytest.raises(UserError, match="cannot be sent to wandb: no route"):
        to_wandb([entry], "mine")
