"""The named recipes: how heads are trained and encoders fine-tuned in the field's protocols.

SLF is a linear head on clean images, ALF one on attacked images, and AFF fine-tunes encoder and
head on attacked images (Jiang et al. 2020, https://arxiv.org/abs/2010.13337).
"""

from collections.abc import Mapping
from typing import Any

from solo_adv.support.checks import choice

PROTOCOLS = ("slf", "alf", "aff")
RECIPES = ("robustssl", "converged", "autolora", "paper", "quick")

_STEP = "2/255"
_LR = {"cifar10": 0.01, "cifar100": 0.05, "stl10": 0.1}
"""The leaderboard's learning rates of linear heads; other data sets get that of CIFAR-10."""


def settings_of(recipe: str, protocol: str, *, dataset: str, norm: str) -> dict[str, Any]:
    """The settings of a robust evaluation that a recipe prescribes for a protocol.

    Args:
        recipe: ``robustssl``, as the RobustSSL leaderboard trains and judges (backbone features);
            ``converged``, the same with a head for SLF that is fitted to convergence; ``autolora``,
            as the leaderboard's second half, without learning rates to choose; ``paper``, as the
            paper and its code do (hidden features, Adam, r-LE); or ``quick``, our short version of
            ``robustssl`` for a first look: fitted heads, 200 updates on attacked images, and 5
            epochs of fine-tuning.
        protocol: ``slf``, ``alf`` or ``aff``.
        dataset: name of the data set, which decides the leaderboard's learning rate.
        norm: the norm of all attacks. The leaderboard has ``linf`` alone; in other norms the
            attacks take the usual lengths of steps.

    Returns:
        Keys and values of ``RobustSettings``.

    Raises:
        UserError: the recipe or the protocol is unknown.

    Source:
        https://github.com/GodXuxilie/RobustSSL_Benchmark, Xu et al. 2024
        (https://arxiv.org/abs/2310.01818) for ``autolora``, and the paper's section 3.2.
    """
    choice("recipe", recipe, RECIPES)
    choice("protocols", protocol, PROTOCOLS)
    kind: dict[str, Any] = {
        "linear": "robust" if protocol == "alf" else "standard",
        "finetune": "adversarial" if protocol == "aff" else "none",
    }
    if recipe == "paper":
        return {**kind, "features": "auto"}
    head: Mapping[str, Any] = {
        **{"optimizer": "sgd", "lr": _LR.get(dataset, _LR["cifar10"]), "weight_decay": 2e-4},
        **{"batch_size": 512, "epochs": 25, "min_updates": 1000, "smaller_batches": True},
        **{"milestones": [10, 20], "augment": True},
    }
    fitted = {"converged": ("slf",), "quick": ("slf", "aff")}
    if protocol in fitted.get(recipe, ()):
        head = {"optimizer": "lbfgs"}
    tuning: dict[str, Any] = {
        **{"loss": "trades", "beta": 6.0, "lr": 0.1, "batch_size": 128, "weight_decay": 2e-4},
        **{"epochs": 25, "milestones": [15, 20]},
    }
    if recipe == "quick":
        tuning = {**tuning, "epochs": 5, "milestones": [3, 4]}
        if protocol == "alf":
            short = {"epochs": 5, "milestones": [3], "min_updates": 200, "augment": False}
            head = {**head, **short, "optimizer": "adam", "lr": 3e-3}
    if recipe == "autolora":
        automatic = {"lr": 0.1, "epochs": 50, "milestones": [], "automatic_lr": True}
        head, tuning = {**head, **automatic}, {**tuning, **automatic, "loss": "autolora"}
    step = {"step_size": _STEP, "train_step_size": _STEP} if norm == "linf" else {}
    return {
        **kind,
        **step,
        "features": "backbone",
        "head": dict(head),
        "finetune_recipe": tuning,
        "train_steps": 10,
        "train_random_start": True,
        "steps": 20,
        "random_start": True,
    }
