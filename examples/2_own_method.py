# %% [markdown]
# # Your own method in 60 lines
#
# A method is an objective on embeddings and an adversary. Here the objective asks that the two crops of an
# image agree, attacked or not, and that the embeddings spread out. Training, checkpoints, resuming and
# evaluation are those of the package's own methods.

# %%
from dataclasses import dataclass
from tempfile import mkdtemp
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

import solo_adv
from solo_adv.adversaries import PGD
from solo_adv.evaluation.evaluating import evaluate
from solo_adv.methods import AdversarialMethod
from solo_adv.objectives import Objective, Update
from solo_adv.support.cli import quiet_libraries
from solo_adv.support.configs import composed
from solo_adv.training.pretraining import pretrain

quiet_libraries()
folder = mkdtemp()

# %% [markdown]
# An objective gets the unit embeddings `z` (views, images, dimensions) and returns a named tuple. Training
# minimises `total`, and the other terms are logged. Its fields are keys of `method_kwargs`.


# %%
class AgreementLoss(NamedTuple):
    """What the objective returns."""

    total: Tensor
    agreement: Tensor
    spread: Tensor


@dataclass(frozen=True, kw_only=True)
class Agreement(Objective):
    """Crops of an image agree, and embeddings of different images are far apart (VICReg's idea)."""

    weight: float = 1.0
    name: ClassVar[str] = "agreement"
    min_views: ClassVar[int] = 2

    def __call__(self, update: Update) -> AgreementLoss:
        z = update.z
        agreement = (z - z.mean(dim=0)).square().sum(dim=-1).mean()
        cosines = z.mean(dim=0) @ z.mean(dim=0).T
        others = ~torch.eye(len(cosines), dtype=torch.bool, device=cosines.device)
        spread = cosines[others].square().mean()
        return AgreementLoss(agreement + self.weight * spread, agreement, spread)


class Own(AdversarialMethod):
    """The method: the objective, under an attack by PGD."""

    objective_class = Agreement
    adversary_class = PGD
    default_crops = "multi_crop"


solo_adv.add_method("own", Own)

# %% [markdown]
# The config is that of any method. On the command line the same settings are
# `--config-name base +method=own +data=digits ...`.

# %%
cfg = composed(
    "base",
    [
        *("+method=own", "+crops=multi_crop", "+data=digits", "crops.num_crops=2"),
        *("+adversary.epsilon=8/255", "+adversary.steps=2", "+max_epochs=2", "data.fraction=0.3"),
        *("backbone.kwargs.width=8", "accelerator=cpu", f"checkpoint.dir={folder}/runs"),
    ],
)
checkpoint = pretrain(cfg)

# %% [markdown]
# Its robustness is measured like that of every other encoder. Two short epochs do not make it good.

# %%
report, files = evaluate(
    composed(
        "robust",
        [
            *(
                f"checkpoint={checkpoint.parent}",
                f"results_dir={folder}/results",
                "accelerator=cpu",
            ),
            *("max_images=50", "steps=5", "epsilons=[4/255,8/255]", "alarm_images=0"),
        ],
    )
)
for measurement in report.measurements:
    print(f"{measurement.label:20} {measurement.accuracy:.0%}")
print("Read more in", files["html"])
