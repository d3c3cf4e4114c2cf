"""Pretraining as a config says."""

from pathlib import Path

from omegaconf import DictConfig

from solo_adv.training.config import parse_cfg


def pretrain(cfg: DictConfig, *, print_config: bool = False) -> Path | None:
    """Train as a config (see ``solo_adv/conf``) says.

    Args:
        cfg: composed by Hydra; completed in place.
        print_config: print all settings as they are used, which ``args.json`` holds too.

    Returns:
        The path of the last checkpoint; None if checkpoints are off.

    Raises:
        UserError: the config, the data or the output directory cannot be used, before any
            training; or the loss became non-finite, with the last good checkpoint named.
    """
    cfg = parse_cfg(cfg)
    # Lightning takes seconds to import, and a mistake in the config is answered before.
    from solo_adv.training.fitting import fit  # noqa: PLC0415

    return fit(cfg, print_config=print_config)
