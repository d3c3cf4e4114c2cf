"""Runs linear evaluation with a checked config, from the data to the accuracies."""

import json
from pathlib import Path

from lightning.pytorch import seed_everything
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig

from solo_adv.crops import CropSpec, build
from solo_adv.data import DataConfig
from solo_adv.data.datamodule import ImageDataModule
from solo_adv.data.labelled import check_labelled
from solo_adv.data.labels import labels_on_record
from solo_adv.data.transfer import transfer_on_record, transfer_words
from solo_adv.encoders.image_size import fit_to_images
from solo_adv.pretrained import load_pretrained
from solo_adv.report.words import drawn_words
from solo_adv.support.errors import UserError
from solo_adv.support.files import write_whole
from solo_adv.support.settings import plain
from solo_adv.training.config import scale_learning_rates
from solo_adv.training.linear_probe import LinearProbe
from solo_adv.training.loggers import close
from solo_adv.training.runs import Run
from solo_adv.training.trainer import build_trainer


def train_probe(cfg: DictConfig, checkpoint: str | Path) -> dict[str, float]:
    """Train and test a linear classifier on the encoder in a checkpoint.

    Args:
        cfg: a checked config with the keys of ``conf/linear.yaml``.
        checkpoint: a ``.ckpt`` file, or a name that :func:`load_pretrained` takes.

    Returns:
        Top-1 and top-5 accuracy on the test split as fractions, after the last epoch (``acc1``,
        ``acc5``) and after the best one (``best_acc1``, ``best_acc5``).

    Raises:
        UserError: the checkpoint or the data cannot be used.
    """
    seed_everything(cfg.seed, verbose=False)
    encoder = load_pretrained(checkpoint, features=cfg.features)
    pretraining = encoder.config["data"]
    config = DataConfig.for_evaluation(pretraining, plain(cfg.data), input_size=encoder.image_size)
    scale_learning_rates(cfg)
    data = ImageDataModule(
        config, batch_size=cfg.optimizer.batch_size, seed=cfg.seed, whole_train=bool(cfg.augment)
    )
    data.setup()
    if data.test_set is None or not data.train_set.labelled or not data.test_set.labelled:
        raise UserError(
            f"data.dataset={config.dataset} has no labelled train and test split here; give them "
            "with data.train_path, data.val_path and data.no_labels=false."
        )
    check_labelled(data.train_set, data.test_set)
    fit_to_images(encoder, *data.test_set[0][0].shape[1:])
    cfg.method = "linear"
    run = Run(cfg)
    crops = build(_augmentation(encoder.image_size), seed=cfg.seed) if cfg.augment else None
    probe = LinearProbe(encoder, data.num_classes, cfg, crops)
    rank_zero_only(run.create)()  # before the loggers write into the directory
    trainer = build_trainer(cfg, run)
    try:
        trainer.fit(probe, datamodule=data)
    finally:
        close(trainer.loggers)
    result = {
        "acc1": probe.last[0],
        "acc5": probe.last[1],
        "best_acc1": probe.best[0],
        "best_acc5": probe.best[1],
    }
    origin = {
        **labels_on_record(config.labels, config.labels_seed, data.train_set.labels),
        **transfer_on_record(pretraining, config, data.train_set),
    }
    if not trainer.is_global_zero:
        return result
    write_whole(run.directory / "results.json", json.dumps({**result, **origin}, indent=2))
    print(
        f"Linear evaluation of {checkpoint}: acc@1 {result['acc1']:.2%}, "
        f"acc@5 {result['acc5']:.2%} (best epoch {result['best_acc1']:.2%})"
    )
    if transfer := transfer_words(origin):
        print(f"Transfer: {transfer}")
    if drawn := drawn_words(origin):
        print(f"Trained on {len(data.train_set):,} images: {drawn}")
    print(_written(run))
    return result


def _augmentation(size: int) -> CropSpec:
    """solo-learn's augmentation for linear evaluation: random resized crops and flips only."""
    plain_colours = {"jitter_prob": 0.0, "grayscale_prob": 0.0, "blur_prob": 0.0}
    return CropSpec.preset("multi_crop", num_crops=1, size=size, solarize_prob=0.0, **plain_colours)


def _written(run: Run) -> Path:
    return run.last_checkpoint() or run.directory / "results.json"
