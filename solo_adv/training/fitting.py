"""Trains with a complete config, from the data to the last checkpoint."""

from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from solo_adv.data.datamodule import ImageDataModule
from solo_adv.encoders.image_size import require_sizes
from solo_adv.host import METHODS
from solo_adv.methods.graph_checks import check_machine
from solo_adv.support.errors import RunStopped, UserError
from solo_adv.support.settings import plain
from solo_adv.training.config import data_config
from solo_adv.training.faults import explain, last_good
from solo_adv.training.loggers import close
from solo_adv.training.online_knn import OnlineKNN
from solo_adv.training.opening import opening
from solo_adv.training.pictures import AutoUMAP, CropPictures
from solo_adv.training.resuming import check_continuation, run_to_continue
from solo_adv.training.runs import Run, is_finished
from solo_adv.training.trainer import build_trainer, check_processes, time_is_over


def fit(cfg: DictConfig, *, print_config: bool = False) -> Path | None:
    """Train as a complete config says.

    Args:
        cfg: as :func:`solo_adv.training.config.parse_cfg` leaves it.
        print_config: whether to print what is trained in six lines; with ``verbose=true`` all
            settings as they are used, which are also written to ``args.json``.

    Returns:
        The path of the last checkpoint; None if checkpoints are off.

    Raises:
        UserError: before training, if a value in the config, the data or the output directory
            cannot be used. During training, if the loss is not finite or a file cannot be read or
            written; the message names the last good checkpoint.
    """
    check_processes(cfg)
    check_machine(cfg)
    cfg = METHODS[cfg.method].add_and_assert_specific_cfg(cfg)
    seed_everything(cfg.seed, verbose=False)
    data = ImageDataModule(
        data_config(cfg),
        batch_size=cfg.optimizer.batch_size,
        seed=cfg.seed,
        crops=METHODS[cfg.method].crop_settings(cfg),
    )
    data.setup()
    cfg.data.num_classes = data.num_classes
    if METHODS[cfg.method].objective_class.needs_labels and not data.train_set.labelled:
        raise UserError(
            f"method={cfg.method} learns from labels, and data.dataset={cfg.data.dataset} has "
            "images without; choose a labelled set (of STL-10, data.train_split=train) or a "
            "self-supervised method."
        )

    run, resume_from = run_to_continue(cfg)
    method = METHODS[cfg.method](cfg)
    if data.test_set is not None:
        whole = data.test_set[0][0].shape[1:]
        require_sizes(method.backbone, cfg.backbone.name, cfg.crops.size, (whole[0], whole[1]))
    if resume_from is not None:
        _announce(resume_from, method, cfg)
    if not cfg.performance.disable_channel_last:
        method = method.to(memory_format=torch.channels_last)
    callbacks = _callbacks(cfg, run)
    batches = len(data.train_set) // cfg.optimizer.batch_size
    cfg.log_every_n_steps = max(1, min(cfg.get("log_every_n_steps", 50), batches))
    if not cfg.get("fast_dev_run"):
        rank_zero_only(run.create)()  # before the loggers write into the directory
    trainer = build_trainer(cfg, run, callbacks, replays=method.adversary.replays)
    if trainer.is_global_zero:
        if print_config and cfg.get("verbose"):
            print(f"{OmegaConf.to_yaml(cfg, resolve=True)}Saved as {run.config_path}")
        elif print_config:
            print("\n".join(opening(cfg, data, method, run)), flush=True)
    _train(trainer, method, data, run, resume_from)
    checkpoint = run.last_checkpoint()
    if checkpoint is not None and trainer.is_global_zero:
        if not (is_finished(checkpoint, plain(cfg)) or time_is_over(trainer)):
            run.finish()
        print(f"Checkpoint: {checkpoint}")
    return checkpoint


def _callbacks(cfg: DictConfig, run: Run) -> list[Callback]:
    """What looks on while the run trains."""
    callbacks: list[Callback] = [CropPictures()]
    if cfg.knn_eval.enabled:
        callbacks.append(OnlineKNN(k=cfg.knn_eval.k, distance=cfg.knn_eval.distance_func))
    if cfg.auto_umap.enabled:
        maps, often = run.directory / "auto_umap", cfg.auto_umap.frequency
        callbacks.append(AutoUMAP(maps, frequency=often, kind=cfg.auto_umap.kind, seed=cfg.seed))
    return callbacks


def _announce(checkpoint: Path, method: LightningModule, cfg: DictConfig) -> None:
    """Say which checkpoint is continued; one that the config names is checked before."""
    if cfg.get("resume_from_checkpoint") is not None:
        check_continuation(checkpoint, method.state_dict(), cfg)
    rank_zero_only(print)(f"Resuming from {checkpoint}")


def _train(
    trainer: Trainer,
    method: LightningModule,
    data: ImageDataModule,
    run: Run,
    resume_from: Path | None,
) -> None:
    """Let the Trainer train, and turn errors that are no bugs into one line."""
    try:
        trainer.fit(method, datamodule=data, ckpt_path=resume_from)
    except SystemExit as error:  # Lightning's answer to Ctrl-C where nothing listens
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        raise RunStopped(f"Stopped by SIGINT. {last_good(run)}") from error
    except Exception as error:
        message = explain(error, run)
        if message is None:
            raise
        raise UserError(message) from error
    finally:
        close(trainer.loggers)
