"""Linear evaluation with solo-learn's recipe, as a config says."""

from omegaconf import DictConfig

from solo_adv.encoders.checkpoint import find_checkpoint
from solo_adv.support.errors import UserError
from solo_adv.training.config import check_probe_cfg


def linear(cfg: DictConfig) -> dict[str, float]:
    """Train and test a linear classifier as a config (see ``solo_adv/conf/linear.yaml``) says.

    Returns:
        Top-1 and top-5 accuracy on the test split, fractions, after the last and the best epoch.

    Raises:
        UserError: a setting, the checkpoint or the data cannot be used.
    """
    if cfg.pretrained_feature_extractor is None:
        raise UserError(
            "pretrained_feature_extractor=PATH is missing: a .ckpt file or a run's directory."
        )
    check_probe_cfg(cfg)
    checkpoint = find_checkpoint(cfg.pretrained_feature_extractor)
    # Lightning takes seconds to import, and a mistake in the config is answered before.
    from solo_adv.training.probing import train_probe  # noqa: PLC0415

    return train_probe(cfg, checkpoint)
