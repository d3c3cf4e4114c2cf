"""A tensor that strays to the CPU is an error, whichever part of a training step it is in.

Each case sends one tensor of the code to the CPU, as a slip of a developer would, and the checks of
this folder must notice it: operations on both devices are refused, and a copy to the CPU waits.
``test_strays_in_evaluation.py`` has those of an evaluation.
"""

import pytest
import torch

from solo_adv.adversaries import PGD, Free
from solo_adv.crops.torch import TorchCrops
from solo_adv.encoders.batch_norms import BranchedBatchNorm
from solo_adv.methods.adversarial import AdversarialMethod
from solo_adv.methods.averaging import AveragedWeights
from solo_adv.methods.lifecycle import Lifecycle
from solo_adv.objectives import DualNTXent, RobustDistillation, emp
from tests.device.devices import never_waiting, step
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
    with pytest.raises(RuntimeError, match=r"wait|synchronizing"):
        trained("cfamc", device)
