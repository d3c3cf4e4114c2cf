"""Checks a config of linear evaluation (solo-learn's recipe), then runs it."""

from omegaconf import DictConfig

from solo_adv.encoders.checkpoint import find_checkpoint
from solo_adv.support.errors import UserError
from solo_adv.training.config import check_probe_cfg


def linear(cfg: DictConfig) -> dict[str, float]:
    """Train and test a linear classifier as a config (see ``solo_adv/conf/linear.yaml``) says.

    Returns:
        Top-1 and top-5 accuracy on the test split as fractions, after the last epoch (``acc1``,
        ``acc5``) and after the best one (``best_acc1``, ``best_acc5``).

    Raises:
        UserError: a setting, the checkpoint or the data cannot be used.
    """
    if cfg.pretrained_feature_extractor is None:
        raise UserError(
            "pretrained_feature_extractor=PATH is missing: a .ckpt file or a run's directory."
        )
    check_probe_cfg(cfg)
    checkpoint = find_checkpoint(cfg.pretrained_feature_extractor)
    # Lightning takes seconds to import; a mistake in the config is reported before that.
    from solo_adv.training.probing import train_probe  # noqa: PLC0415

    return train_probe(cfg, checkpoint)
