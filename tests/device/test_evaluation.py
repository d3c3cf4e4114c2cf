"""A whole evaluation runs on the device and counts what it counts on the CPU."""

import pytest
import torch

from solo_adv import load_pretrained
from solo_adv.data import ImageSet
from solo_adv.evaluation.heads.finetune import FinetuneRecipe
from solo_adv.evaluation.heads.linear import HeadRecipe
from solo_adv.evaluation.robust import evaluate_robustness
from solo_adv.evaluation.settings import RobustSettings

ENCODER = "cfamc_resnet10w16_digits_m3"
USUAL = {
    "head": HeadRecipe(lr=0.1, batch_size=16, epochs=1, min_updates=2),
    "epsilons": (4 / 255,),
    "steps": 2,
    "train_steps": 1,
    "alarm_images": 4,
    "batch_size": 16,
}
CASES = {
    "robust head, corruptions, two norms": {
        "linear": "robust",
        "corruptions": "generated",
        "other_norms": {"l2": (0.25,)},
        "random_start": True,
        "restarts": 2,
        "precision": "bf16-mixed",
    },
    "crops": {"protocol": "crops", "num_crops": 2, "autoattack": False},
    "crops of attacked images": {
        **{"protocol": "crops", "num_crops": 2, "space": "image"},
        **{"max_images": 4, "alarm_images": 0},
    },
    "AutoAttack": {"autoattack": True, "max_images": 3, "alarm_images": 0},
    "low-rank": {
        "finetune": "adversarial",
        "finetune_recipe": FinetuneRecipe(epochs=1, batch_size=16, loss="autolora"),
    },
    "automatic rate": {
        "head": HeadRecipe(
            batch_size=16, epochs=2, min_updates=1, automatic_lr=True, validation=0.25
        )
    },
}
QUICK = "robust head, corruptions, two norms"


@pytest.fixture(autouse=True)
def no_workers(monkeypatch):
    monkeypatch.setattr("solo_adv.support.processes.usable_cores", lambda: 0)


def image_set(count, seed):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, 3, 16, 16), generator=generator).to(torch.uint8)
    return ImageSet("noise", torch.arange(count) % 10, tuple("0123456789"), images=images)


def evaluated(device, settings):
    encoder = load_pretrained(ENCODER).to(device)
    outcome = evaluate_robustness(
        encoder,
        image_set(16, 0),
        image_set(8, 1),
        RobustSettings(**{**USUAL, **settings}),
        method="cfamc",
        checkpoint=ENCODER,
        pretrain_config={"crops": {"num_crops": 2, "size": 16}},
        device=device,
        quiet=True,
    )
    assert {weight.device.type for weight in encoder.state_dict().values()} == {device}
    return {m.label: (m.correct, m.total) for m in outcome.report.measurements}


@pytest.mark.parametrize(
    "name",
    [name if name == QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CASES],
)
def test_an_evaluation_counts_what_it_counts_on_the_cpu(device, name):
    found = evaluated(device, CASES[name])
    assert len(found) > 2
    if name in (QUICK, "crops"):
        expected = evaluated("cpu", CASES[name])
        assert found.keys() == expected.keys()
        for label, (correct, total) in expected.items():
            assert abs(found[label][0] - correct) <= 2, label
            assert found[label][1] == total
