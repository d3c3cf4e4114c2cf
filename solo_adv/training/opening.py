"""What a run says when it begins: six lines, because ``args.json`` has all settings."""

from omegaconf import DictConfig

from solo_adv.data.datamodule import ImageDataModule
from solo_adv.methods import AdversarialMethod
from solo_adv.methods.run_length import batches_of_epoch, planned_batches
from solo_adv.support.settings import section
from solo_adv.training.config import device_count
from solo_adv.training.runs import Run

_STRENGTH = ("norm", "epsilon", "step_size", "steps", "replays", "views")


def opening(
    cfg: DictConfig, data: ImageDataModule, method: AdversarialMethod, run: Run
) -> list[str]:
    """Data, method, adversary, network, cost and directory, a line each.

    Args:
        cfg: the complete config.
        data: the images, which are set up.
        method: the method with its network.
        run: the run.
    """
    train, test = data.train_set, data.test_set
    tested = f", {len(test):,} test" if test is not None else ""
    crops, adversary = cfg.crops, section(cfg, "adversary")
    strength = ", ".join(f"{key} {adversary[key]}" for key in _STRENGTH if key in adversary)
    weights = sum(p.numel() for p in method.parameters() if p.requires_grad)
    whole = len(train) // (cfg.optimizer.batch_size * device_count(cfg))
    batches = batches_of_epoch(cfg, whole)
    planned = planned_batches(cfg, whole)
    ended = f", ended after {planned:,}" if planned < batches * cfg.max_epochs else ""
    lines = {
        "data": f"{cfg.data.dataset}: {len(train):,} train{tested} images, "
        f"{data.num_classes} classes",
        "method": f"{cfg.method}, {crops.num_crops} crops of {crops.size} pixels",
        "adversary": strength or "none",
        "network": f"{cfg.backbone.name}, {weights / 1e6:.2f} M weights, {cfg.precision}",
        "cost": f"{cfg.max_epochs} epochs of {batches:,} batches of {cfg.optimizer.batch_size} "
        f"images{ended}; the time follows",
        "directory": f"{run.directory} (args.json; verbose=true shows all settings)",
    }
    return [f"{name + ':':<11}{words}" for name, words in lines.items()]
