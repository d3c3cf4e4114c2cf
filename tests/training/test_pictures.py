"""Pictures of a run change nothing in it, and show what was trained on."""

import copy
import csv
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger, WandbLogger

from solo_adv import METHODS, UserError
from solo_adv.data import ImageSet
from solo_adv.training import pictures
from solo_adv.training.loggers import log_picture, take_pictures
from solo_adv.training.pictures import AutoUMAP, CropPictures, crop_grid
from tests.methods.conftest import config, fit_method


def built(name, **changes):
    torch.manual_seed(0)
    cfg = METHODS[name].add_and_assert_specific_cfg(config(name, **changes))
    return METHODS[name](cfg)


@pytest.fixture
def sent(monkeypatch):
    """The names and pictures that loggers get."""
    got = []
    monkeypatch.setattr(pictures, "take_pictures", lambda loggers: True)
    monkeypatch.setattr(
        pictures, "log_picture", lambda loggers, name, picture, step: got.append((name, picture))
    )
    return got


def test_each_image_has_its_crops_and_below_them_the_perturbed_ones():
    views, images, side = 2, 3, 4
    crops = torch.rand(views * images, 3, side, side)
    delta = 0.2 * torch.rand_like(crops) - 0.1
    grid = crop_grid(crops[:0], crops, delta, images)
    for image in range(images):
        for below, row in enumerate((crops, (crops + delta).clamp(0, 1))):
            for view in range(views):
                top, left = (2 * image + below) * (side + 2) + 2, view * (side + 2) + 2
                found = grid[:, top : top + side, left : left + side]
                expected = 255 * row[view * images + image]
                assert (found - expected).abs().max() <= 0.5 + 1e-4


def test_without_attack_the_clean_crops_are_shown():
    crops = torch.rand(20 * 9, 3, 4, 4)
    grid = crop_grid(crops, crops[:0], None, 9)
    assert grid.shape == (3, pictures.IMAGES * 6 + 2, pictures.VIEWS * 6 + 2)


@pytest.mark.parametrize("name", ["cfamc", "robust_simclr", "emp_ssl"])
def test_a_run_is_the_same_with_pictures_of_its_crops(name, sent):
    plain = built(name, max_epochs=2)
    watched = copy.deepcopy(plain)
    for method, callbacks in ((plain, []), (watched, [CropPictures()])):
        torch.manual_seed(1)
        fit_method(method, batches=2, callbacks=callbacks)
    assert [name for name, _ in sent] == ["crops"] * 2
    for expected, found in zip(plain.parameters(), watched.parameters(), strict=True):
        assert torch.equal(expected, found)
    assert "updated" not in vars(watched)


def test_free_training_is_shown_with_the_perturbation_of_its_last_replay(sent):
    fit_method(built("cfamc"), callbacks=[CropPictures()])
    _, picture = sent[0]
    rows = picture[:, 2:].unflatten(1, (-1, 18))[:, :, :16].float() / 255
    change = (rows[:, 1::2] - rows[:, ::2]).abs().max()
    assert 4 / 255 < change < 8 / 255 + 1.5 / 255


def digits(count):
    labels = torch.arange(count) % 3
    return ImageSet(
        "toy test",
        labels,
        ("a", "b", "c"),
        images=torch.randint(0, 256, (count, 3, 16, 16), dtype=torch.uint8),
    )


def test_a_map_is_written_when_it_is_due(tmp_path, sent):
    method = built("emp_ssl").eval()
    callback = AutoUMAP(tmp_path / "maps", frequency=2, kind="tsne", seed=0)
    trainer = SimpleNamespace(
        **{"max_epochs": 3, "sanity_checking": False, "is_global_zero": True, "loggers": []},
        **{"global_step": 1, "datamodule": SimpleNamespace(test_set=digits(12))},
    )
    state = torch.get_rng_state()
    for trainer.current_epoch in range(3):
        callback.on_validation_epoch_end(trainer, method)
    assert torch.equal(torch.get_rng_state(), state)
    written = sorted(path.name for path in (tmp_path / "maps").iterdir())
    assert written == [f"epoch-{epoch}.{kind}" for epoch in (2, 3) for kind in ("csv", "png")]
    with open(tmp_path / "maps" / "epoch-2.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == ["a", "b", "c"] * 4
    assert [(name, picture.dtype) for name, picture in sent] == [("feature map", torch.uint8)] * 2


def test_a_kind_of_map_that_cannot_be_made_is_refused_before_training(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"auto_umap\.kind"):
        AutoUMAP(tmp_path, frequency=1, kind="pca", seed=0)
    monkeypatch.setattr("solo_adv.evaluation.mapping.find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs the package umap-learn"):
        AutoUMAP(tmp_path, frequency=1, kind="umap", seed=0)


def test_tensorboard_and_wandb_get_pictures_and_a_csv_file_does_not(tmp_path):
    told = []

    class Board(TensorBoardLogger):
        def __init__(self):
            pass

        experiment = SimpleNamespace(add_image=lambda *given: told.append(given))

    class Wandb(WandbLogger):
        def __init__(self):
            pass

        def log_image(self, key, images, **more):
            told.append((key, images[0], more))

    loggers = [CSVLogger(tmp_path), Board(), Wandb()]
    assert take_pictures(loggers)
    assert not take_pictures(loggers[:1])
    picture = torch.zeros(3, 4, 5, dtype=torch.uint8)
    log_picture(loggers, "crops", picture, 7)
    assert told[0] == ("crops", picture, 7)
    assert (told[1][0], told[1][1].shape, told[1][2]) == (
        "crops",
        (4, 5, 3),
        {"caption": ["step 7"]},
    )
