"""Checks a config of linear evaluation (solo-learn's recipe), then runs it."""

from omegaconf import DictConfig, OmegaConf

from solo_adv.pretrained import file_of
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
            "pretrained_feature_extractor=PATH is missing: a .ckpt file, a run's directory, or a "
            "name of the zoo."
        )
    OmegaConf.set_struct(cfg, False)
    check_probe_cfg(cfg)
    file = file_of(cfg.pretrained_feature_extractor)  # None for a name, whose files are downloaded
    # Lightning takes seconds to import; a mistake in the config is reported before that.
    from solo_adv.training.probing import train_probe  # noqa: PLC0415

    return train_probe(cfg, cfg.pretrained_feature_extractor if file is None else file)
