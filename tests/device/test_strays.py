"""A tensor that strays to the CPU is an error, whichever part of training or evaluation it is in.

Each case sends one tensor of the code to the CPU, as a slip of a developer would, and the checks of
this folder must notice it: operations on both devices are refused, and a copy to the CPU waits.
"""

import pytest
import torch

from solo_adv.adversaries import PGD, Free
from solo_adv.crops.torch import TorchCrops
from solo_adv.encoders.batch_norms import BranchedBatchNorm
from solo_adv.evaluation import Bench, evaluate_pgd
from solo_adv.evaluation.heads.features import extract
from solo_adv.evaluation.heads.knn import knn_accuracy
from solo_adv.evaluation.mapping import map_features
from solo_adv.methods.adversarial import AdversarialMethod
from solo_adv.methods.averaging import AveragedWeights
from solo_adv.methods.lifecycle import Lifecycle
from solo_adv.objectives import DualNTXent, RobustDistillation, emp
from tests.device.devices import never_waiting, step
from tests.device.test_evaluation import image_set
from tests.device.trainers import trained

TWO_BATCH_NORMS = ("backbone.batch_norms=2", "averaging.views=none", "averaging.decay=0")


def sent(function, changed=lambda out: out.cpu()):
    """The function, with its result changed, by default sent to the CPU."""
    return lambda *args, **kwargs: changed(function(*args, **kwargs))


def crops(patch):
    patch.setattr(TorchCrops, "__call__", sent(TorchCrops.__call__))


def crop_settings(patch):
    patch.setattr("solo_adv.crops.torch.send", lambda tensor, device: tensor)


def perturbation(kind):
    return lambda patch: patch.setattr(kind, "perturb", sent(kind.perturb))


def embeddings(patch):
    patch.setattr(emp, "gather_batch", lambda z, dim: z.cpu())


def mask(patch):
    shown = AdversarialMethod._shown
    patch.setattr(
        AdversarialMethod,
        "_shown",
        sent(
            shown, lambda update: update._replace(z=update.z * update.attacked.cpu()[:, None, None])
        ),
    )


def contrast(patch):
    def of_cpu(self, z):
        return (z @ torch.eye(z.shape[-1])).sum()

    patch.setattr(DualNTXent, "_contrast", of_cpu)


def teachers_outputs(patch):
    patch.setattr(AdversarialMethod, "prepare", sent(AdversarialMethod.prepare))


def center(patch):
    call = RobustDistillation.__call__

    def moved(self, update):
        return call(self, update._replace(center=torch.zeros(update.z.shape[-1])))

    patch.setattr(RobustDistillation, "__call__", moved)


def averaged_weights(patch):
    moved = AveragedWeights._moved
    patch.setattr(AveragedWeights, "_moved", lambda *args: [t.cpu() for t in moved(*args)])


def second_batch_norm(patch):
    forward = BranchedBatchNorm.forward

    def moved(self, input):
        self.clean.cpu()
        return forward(self, input)

    patch.setattr(BranchedBatchNorm, "forward", moved)


def logged_rate(patch):
    log = Lifecycle._log_step

    def moved(self, terms, probe):
        return log(self, terms, {name: value.cpu() for name, value in probe.items()})

    patch.setattr(Lifecycle, "_log_step", moved)


STEPS = {
    "crops": (crops, "cfamc"),
    "settings of crops": (crop_settings, "cfamc"),
    "carried perturbation": (perturbation(Free), "cfamc"),
    "perturbation": (perturbation(PGD), "robust_emp"),
    "loss": (embeddings, "cfamc"),
    "mask of attacked views": (mask, "robust_emp"),
    "contrast": (contrast, "acl"),
    "averaged weights": (averaged_weights, "dynacl"),
    "teacher": (teachers_outputs, "deacl"),
    "center of the targets": (center, "deacl"),
    "second batch norm": (second_batch_norm, "acl", *TWO_BATCH_NORMS),
}
QUICK = ("carried perturbation",)


def slowly(cases, quick=()):
    return [c if c in quick else pytest.param(c, marks=pytest.mark.slow) for c in cases]


@pytest.mark.parametrize("name", slowly(STEPS, QUICK))
def test_in_a_step(device, name, monkeypatch):
    stray, *settings = STEPS[name]
    made = step(settings[0], device, "+backbone.kwargs.layers=[1,1,1,1]", *settings[1:])
    made()
    with never_waiting(device):
        made()
    stray(monkeypatch)
    with pytest.raises(RuntimeError), never_waiting(device):
        made()


def test_in_what_is_logged(device, monkeypatch):
    logged_rate(monkeypatch)
    with pytest.raises(RuntimeError, match="wait"):
        trained("cfamc", device)


@pytest.fixture
def network(device):
    torch.manual_seed(0)
    layers = torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.LazyLinear(10)
    made = torch.nn.Sequential(*layers)
    made(torch.zeros(1, 3, 16, 16))
    return made.to(device).eval()


def test_in_a_verdict(device, network):
    bench = Bench(network, image_set(8, 0), batch_size=4, device=device)
    assert evaluate_pgd(bench, epsilon="1/255", steps=2).total == 8
    network[3].cpu()
    with pytest.raises(RuntimeError):
        evaluate_pgd(bench, epsilon="1/255", steps=2)


def test_neighbours_are_those_on_the_cpu(device, network):
    sets = [extract(network, image_set(20, seed), 8, device) for seed in (0, 1)]
    assert {part.device.type for pair in sets for part in pair} == {device}
    found = knn_accuracy(*sets[0], *sets[1], k=3)
    there = [[part.cpu() for part in pair] for pair in sets]
    assert found == pytest.approx(knn_accuracy(*there[0], *there[1], k=3), abs=0.06)
    with pytest.raises(RuntimeError):
        knn_accuracy(there[0][0], sets[0][1], *sets[1], k=3)


def test_a_map_of_features_is_computed_on_the_device(device, network, monkeypatch):
    monkeypatch.setattr("solo_adv.evaluation.mapping._tsne", lambda features, seed: features[:, :2])
    attack = PGD(8 / 255, 2 / 255, 2, random_start=True, batch_norm="eval")
    options = {
        "adversary": attack,
        "max_images": None,
        "batch_size": 4,
        "device": device,
        "seed": 0,
    }
    made = map_features(network, image_set(12, 0), kind="tsne", **options)
    assert not torch.equal(made.clean, made.attacked)
    network[3].cpu()
    with pytest.raises(RuntimeError):
        map_features(network, image_set(12, 0), kind="tsne", **options)
