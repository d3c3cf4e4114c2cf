"""Checks a config of pretraining, then trains."""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from solo_adv.training.config import parse_cfg


def pretrain(cfg: DictConfig, *, print_config: bool = False) -> Path | None:
    """Train as a config (see ``solo_adv/conf``) says.

    Args:
        cfg: composed by Hydra; completed in place.
        print_config: whether to print what is trained in six lines; with ``verbose=true`` all
            settings as they are used, which are also written to ``args.json``.

    Returns:
        The path of the last checkpoint; None if checkpoints are off.

    Raises:
        UserError: before training, if the config, the data or the output directory cannot be used.
            During training, if the loss is not finite or a file cannot be read or written; the
            message names the last good checkpoint.
    """
    OmegaConf.set_struct(cfg, False)
    cfg = parse_cfg(cfg)
    # Lightning takes seconds to import; a mistake in the config is reported before that.
    from solo_adv.training.fitting import fit  # noqa: PLC0415

    return fit(cfg, print_config=print_config)
