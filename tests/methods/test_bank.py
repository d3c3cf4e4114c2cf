"""Banks of targets against brute force, and their use, resuming and refusals."""

import random

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from solo_adv import UserError
from solo_adv.crops import build as build_crops
from solo_adv.data.loaders import ResidentLoader
from solo_adv.encoders.loading import encoder_from
from solo_adv.methods import adversarial
from solo_adv.methods.bank import Bank, compute_bank, crops_of_bank
from solo_adv.methods.teacher import FrozenTeacher, TeacherSettings
from tests.methods.conftest import BATCH, SIZE, Images


@pytest.fixture
def teacher(build, fit, tmp_path):
    """The checkpoint of a trained method that has the same network."""
    fit(build("emp_ssl"), batches=2).save_checkpoint(tmp_path / "teacher.ckpt")
    return str(tmp_path / "teacher.ckpt")


def bank_of(teacher, loader, *, seed=3, **settings):
    return compute_bank(
        FrozenTeacher(encoder_from(teacher, features="backbone")),
        loader,
        TeacherSettings(kind="bank", checkpoint=teacher, features="backbone", **settings),
        to_pixels=lambda images: images,
        device="cpu",
        seed=seed,
    )


def loader(batches=3, **options):
    return DataLoader(Images(batches), batch_size=BATCH, shuffle=True, **options)


def test_a_target_is_the_teachers_feature_of_the_whole_image(teacher):
    bank = bank_of(teacher, loader(), crops=1, min_scale=1.0)
    network = encoder_from(teacher, features="backbone")
    for index, image in enumerate(Images(3).x):
        alone = network(image[None].float() / 255)[0]
        torch.testing.assert_close(bank.targets[index], alone, rtol=2e-3, atol=1e-4)
    torch.testing.assert_close(bank.center, bank.targets.mean(0))
    assert bank.clusters is None


def test_a_target_is_the_mean_over_crops_of_the_image(teacher):
    settings = TeacherSettings(kind="bank", checkpoint=teacher, crops=4)
    spec = crops_of_bank(settings, SIZE)
    assert spec.num_crops == 4
    assert spec.scale == (0.25, 1.0)
    assert spec.jitter_prob == spec.grayscale_prob == spec.blur_prob == spec.solarize_prob == 0
    bank = bank_of(teacher, loader(), crops=4, seed=0)  # all images are one batch, of the seed 0
    crops = build_crops(spec, seed=0)(Images(3).x)
    network = encoder_from(teacher, features="backbone")
    sums = torch.zeros_like(bank.targets)
    for place, crop in enumerate(crops):  # view-major
        sums[place % len(sums)] += network(crop[None])[0]
    torch.testing.assert_close(bank.targets, sums / 4, rtol=2e-3, atol=1e-4)


def test_loaders_of_all_kinds_give_the_same_bank(teacher):
    images = Images(3).x
    resident = ResidentLoader(
        images, torch.zeros(len(images)).long(), batch_size=5, shuffle=True, drop_last=True
    )
    expected = bank_of(teacher, loader(), crops=2).targets
    for other in (resident, loader(num_workers=1), loader(drop_last=True)):
        assert torch.equal(bank_of(teacher, other, crops=2).targets, expected)


def test_the_center_and_the_clusters_are_those_of_the_targets(teacher):
    bank = bank_of(teacher, loader(), crops=1, clusters=3, center=False)
    assert bank.center is None
    assert sorted(bank.clusters.unique().tolist()) == [0, 1, 2]
    means = torch.stack([bank.targets[bank.clusters == k].mean(0) for k in range(3)])
    assert torch.equal(torch.cdist(bank.targets, means).argmin(1), bank.clusters)
    head = bank.head()
    assert (head(bank.targets).argmax(1) == bank.clusters).float().mean() == 1


def test_the_state_of_the_run_does_not_notice(teacher):
    settings = TeacherSettings(kind="bank", checkpoint=teacher, crops=2, clusters=2)
    network, images = FrozenTeacher(encoder_from(teacher)), loader(num_workers=1)
    before = torch.get_rng_state(), random.getstate(), str(np.random.get_state())
    compute_bank(network, images, settings, to_pixels=lambda x: x, device="cpu", seed=3)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), str(np.random.get_state())) == before[1:]


FAST = {"teacher.kind": "bank", "teacher.features": "backbone", "teacher.crops": 2}


@pytest.mark.parametrize("center", [True, False])
def test_the_objective_sees_the_rows_of_the_batch(build, fit, teacher, monkeypatch, center):
    method = build(
        "deacl_fast",
        **FAST,
        **{"teacher.checkpoint": teacher, "teacher.center": center, "adversary.batch_norm": "eval"},
    )
    shown = []
    loss = method._loss
    monkeypatch.setattr(method, "_loss", lambda update: shown.append(update) or loss(update))
    fit(method, batches=3)
    assert len(shown) == 3
    for number, update in enumerate(shown):  # the fixture's loader does not shuffle
        rows = method.bank.targets[BATCH * number : BATCH * (number + 1)]
        assert torch.equal(update.teacher, rows.expand(4, *rows.shape))
        if center:
            assert torch.equal(update.center, method.bank.targets.mean(0))
        else:
            assert update.center is None
    passes = BATCH * 3 * 2 / 3 + 3 * BATCH * (4 + 2)  # the bank; 4 views and 2 crafted crops
    assert method.crop_passes == round(passes)


def test_a_resumed_run_has_the_bank_that_it_began_with(build, fit, teacher, tmp_path, monkeypatch):
    def fresh():
        return build("dynacl_pp", **PLUS, **{"teacher.checkpoint": teacher, "max_epochs": 2})

    whole, half = fresh(), fresh()
    fit(whole, batches=3)
    half.cfg.max_epochs = 1
    fit(half, batches=3).save_checkpoint(tmp_path / "half.ckpt")
    monkeypatch.setattr(adversarial, "compute_bank", lambda *_, **__: pytest.fail("again"))
    resumed = fresh()
    state = torch.load(tmp_path / "half.ckpt", weights_only=False)
    resumed.on_load_checkpoint(state)
    for name in ("targets", "clusters"):
        assert torch.equal(getattr(resumed.bank, name), getattr(half.bank, name).cpu())
    assert resumed.bank.center is None
    assert resumed.crop_passes == half.crop_passes


PLUS = {
    **{"teacher.kind": "bank", "teacher.features": "backbone", "teacher.crops": 1},
    **{"teacher.min_scale": 1.0, "teacher.center": False, "teacher.clusters": 3},
    **{"teacher.start_student": True, "adversary.steps": 1, "adversary.random_start": True},
}


def test_pseudo_labels_are_the_clusters_and_the_head_starts_fitted(build, fit, teacher):
    method = build("dynacl_pp", **PLUS, **{"teacher.checkpoint": teacher, "optimizer.lr": 1e-9})
    trainer = fit(method, batches=3)
    crops, targets = torch.rand(BATCH, 3, SIZE, SIZE), torch.arange(BATCH)
    batch = method.batch_of(crops, targets, torch.tensor([5, 0, 11, 2]))
    assert torch.equal(batch.labels, method.bank.clusters[[5, 0, 11, 2]])
    assert trainer.callback_metrics["train_cross_entropy"].isfinite()
    fitted = method.bank.head()
    torch.testing.assert_close(method.head.weight, fitted.weight, rtol=1e-4, atol=1e-4)
    assert method(crops)["z"].shape == (BATCH, 3)


def test_the_bank_is_saved_in_half_precision_and_comes_back_the_same(teacher):
    bank = bank_of(teacher, loader(), crops=2, clusters=2)
    state = bank.state_dict()
    assert state["targets"].dtype == torch.half
    again = Bank.from_state(state)
    assert torch.equal(again.targets, bank.targets)
    assert torch.equal(again.center, bank.center)
    assert torch.equal(again.clusters, bank.clusters)


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("deacl_fast", {**FAST, "crops.source": "loader"}, r"crops\.source=device"),
        ("deacl_fast", {**FAST, "teacher.clusters": 3}, "does not use"),
        ("deacl_fast", {**FAST, "teacher.crops": 0}, r"teacher\.crops"),
        ("deacl_fast", {**FAST, "teacher.min_scale": 1.5}, r"teacher\.min_scale"),
        ("deacl_fast", {**FAST, "teacher.features": "hidden"}, "features"),
        ("deacl_fast", {"teacher.kind": "network", "teacher.clusters": 3}, r"kind=bank"),
        ("dynacl_pp", {**PLUS, "teacher.clusters": 0}, r"teacher\.clusters=10"),
        ("dynacl_pp", {**PLUS, "teacher.clusters": 1}, "at least 2"),
        ("dynacl_pp", {**PLUS, "adversary.views": "all"}, r"adversary\.views=twins"),
    ],
)
def test_what_makes_no_sense_is_refused(build, teacher, name, changes, said):
    with pytest.raises(UserError, match=said):
        build(name, **{"teacher.checkpoint": teacher, **changes})


def test_more_clusters_than_images_are_refused(teacher):
    with pytest.raises(UserError, match="more than the 12 training images"):
        bank_of(teacher, loader(), clusters=13)


def test_a_loader_of_crops_is_refused(teacher):
    class Crops:
        dataset = range(4)

    with pytest.raises(UserError, match=r"data\.format"):
        bank_of(teacher, Crops())
