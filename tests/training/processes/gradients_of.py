"""Pretrains in this process or, under torchrun, in several, and records the gradients.

``gradients_of.py DIRECTORY PROCESSES CASE...`` saves, for every case, the gradients of each update
and the weights and statistics at the end. Crops are not random, so that several processes see the
same ones as a single process.
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from solo_adv.adversaries.ball import LInf
from solo_adv.methods import MIXINS, AdversarialMethod
from solo_adv.training.pretraining import pretrain
from tests.taught import taught

CASES = {
    "acl": ["adversary.steps=2", "adversary.random_start=false"],
    "acl air": [
        *("adversary.steps=2", "adversary.random_start=false"),
        *("method_kwargs.sir=0.5", "method_kwargs.air=0.5"),
    ],
    "deacl": ["adversary.steps=2", "adversary.random_start=false", *taught("deacl")],
    "deacl_fast": ["adversary.noise=0", "adversary.steps=2", *taught("deacl_fast")],
    "deacl_freeadv": taught("deacl_freeadv"),
    "dynacl": ["adversary.steps=2", "adversary.random_start=false"],
    "deacl_fast bank": [
        *("adversary.noise=0", "teacher.kind=bank", "teacher.features=projector"),
        *("teacher.checkpoint=cfamc_resnet10w16_digits_m3", "teacher.start_student=false"),
        "backbone.kwargs.width=16",
    ],
    "dynacl_pp": [
        *("adversary.steps=2", "adversary.random_start=true", "adversary.views=twins"),
        *taught("dynacl_pp"),
    ],
    "emp_ssl": [],
    "fare": ["adversary.steps=2", "adversary.random_start=false", *taught("fare")],
    "robust_emp": ["adversary.steps=2", "adversary.batch_norm=train_frozen"],
    "robust_emp eval": ["adversary.steps=2", "adversary.batch_norm=eval"],
    "robust_emp accumulating": ["adversary.steps=2", "preset=reference"],
    "cfamc": [],
    "cfamc twins": [
        *("adversary.views=twins", "adversary.forward=separate", "backbone.batch_norms=2"),
        "averaging.decay=0.5",
    ],
    "simclr": [],
    "robust_simclr": ["adversary.steps=2"],
    "robust_simclr cross": ["adversary.steps=2", "adversary.pair=cross"],
    "simclr_freeadv": [],
    "supervised_freeadv": ["method_kwargs.loss=cross_entropy"],
    "supervised_freeadv sup_con": ["method_kwargs.loss=sup_con"],
}
GLOBAL_BATCH = 16
JOB = [
    *("data=digits", "data.fraction=0.05", "crops.num_crops=2", "crops.size=8", "accelerator=cpu"),
    *("backbone.kwargs.width=4", "+backbone.kwargs.layers=[1,1,1,1]", "backbone.stem=cifar"),
    "max_epochs=1",
    *(
        "precision=64-true",
        "optimizer.name=sgd",
        "optimizer.kwargs=null",
        "checkpoint.enabled=false",
    ),
    *("+limit_train_batches=2", "+limit_val_batches=0", "knn_eval.enabled=false"),
]


PROJECTOR = ["method_kwargs.proj_hidden_dim=8", "method_kwargs.proj_output_dim=6"]


class TwoShifts(torch.nn.Module):
    """Makes two crops of each image, always the same ones."""

    def forward(self, images):
        pixels = images.double() / 255
        return torch.cat([pixels, pixels.roll(1, dims=2)])

    def respec(self, spec):
        """Stay the same while the augmentation weakens."""


def start_by_brightness(ball, images, generator):
    """A start of an attack that is not random, but the same for an image in any process."""
    return ball.project((images - 0.5).sign() * ball.epsilon / 2, images)


def run(case, processes):
    """Pretrain; return each parameter's gradients of all updates, and the state at the end."""
    name = case.split()[0]
    more = [
        f"optimizer.batch_size={GLOBAL_BATCH // processes}",
        f"devices={processes}",
        f"strategy={'ddp' if processes > 1 else 'auto'}",
    ]
    projector = PROJECTOR if MIXINS[name].objective_class.projector else []
    cfg = compose(name, overrides=[*JOB, *projector, *CASES[case], *more])
    OmegaConf.set_struct(cfg, False)
    gradients, state = {}, {}

    def note_gradients(self, optimizer):
        trained = ((key, p) for key, p in self.named_parameters() if p.requires_grad)
        for key, parameter in trained:
            gradients.setdefault(key, []).append(parameter.grad.clone())

    def note_state(self):
        state.update(self.state_dict())

    AdversarialMethod.on_before_optimizer_step = note_gradients
    AdversarialMethod.on_train_end = note_state
    pretrain(cfg)
    return {"gradients": gradients, "state": state}


def main():
    """Run the cases one after the other."""
    directory, processes, *cases = sys.argv[1:]
    torch.set_num_threads(1)
    AdversarialMethod._build_crops = lambda self, seed: TwoShifts()
    LInf.start = start_by_brightness
    with initialize_config_module("solo_adv.conf", version_base="1.3"):
        found = {case: run(case, int(processes)) for case in cases}
    rank = dist.get_rank() if dist.is_initialized() else 0
    torch.save(found, Path(directory) / f"{processes}-{rank}.pt")


if __name__ == "__main__":
    main()
