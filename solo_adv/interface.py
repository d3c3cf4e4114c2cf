"""The package's calls for Python: pretrain, evaluate and benchmark, each with one line of settings.

They do what the commands do, with the same settings and files.
"""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from solo_adv.benchmark.record import Benchmark
from solo_adv.data.image_set import ImageSet
from solo_adv.report.record import Report
from solo_adv.support.checks import choice
from solo_adv.support.cli import quiet_libraries
from solo_adv.support.configs import composed, config_groups, primary_configs
from solo_adv.support.errors import UserError
from solo_adv.support.settings import plain

OUTPUTS = ("auto", "logits", "features")
Data = str | Mapping[str, Any] | tuple[Any, ...]


def pretrain(method: str | DictConfig, overrides: Sequence[str] = (), **settings: Any) -> Path:
    """Pretrain an encoder, as ``main_pretrain.py`` does.

    ``solo_adv.pretrain("cfamc", data="digits", max_epochs=1)`` or, with keys that have dots,
    ``solo_adv.pretrain("cfamc", ["data=digits", "adversary.epsilon=4/255"])``.

    Args:
        method: a method's name, such as ``cfamc``, or a config that Hydra composed, also by
            ``hydra.compose``. It is not changed.
        overrides: settings as the command line has them.
        settings: settings by their top-level keys. Sections are mappings, which replace only the
            keys that they hold: ``adversary={"epsilon": "4/255"}``. Groups may be named:
            ``data="cifar10"``, ``crops="simclr"``.

    Returns:
        The path of the last checkpoint, which :func:`load_pretrained` and :func:`evaluate` take.

    Raises:
        UserError: a setting, the data or the output directory cannot be used.
    """
    from solo_adv.training.pretraining import pretrain as train  # noqa: PLC0415  imports Lightning

    if isinstance(method, str):
        methods = [name.removesuffix(".yaml") for name in primary_configs()]
        choice("method", method.removesuffix(".yaml"), methods)
        cfg = config_of(method, overrides, settings)
    elif overrides or settings:
        raise UserError("A composed config has all settings in it: give no others with it.")
    else:
        cfg = OmegaConf.create(plain(method))
    with warnings.catch_warnings():
        quiet_libraries()
        checkpoint = train(cfg)
    if checkpoint is None:
        raise UserError("checkpoint.enabled=false leaves no checkpoint to return.")
    return checkpoint


def evaluate(
    model: nn.Module | str | Path,
    data: Data | None = None,
    *,
    output: str = "auto",
    device: str = "auto",
    name: str | None = None,
    directory: str | Path | None = None,
    **settings: Any,
) -> Report:
    """Measure how robust a model is: accuracy without attack, under PGD, and more.

    Args:
        model: a differentiable network from pixels (N, 3, H, W) in [0, 1] to logits or features,
            which normalises its input by itself; or a checkpoint, a run's directory or a name of
            the zoo, as ``main_robust.py`` takes it.
        data: a data set's name (``"cifar10"``), settings of the ``data`` section, or images and
            labels: ``(images, labels)`` for logits, ``((images, labels), (images, labels))``, train
            and test, for features. Images are uint8, or float in [0, 1], (N, 3, H, W). A checkpoint
            is judged on the data that it was trained on if there are none.
        output: what a network computes: ``logits`` of the classes, or ``features``, on which a
            linear head is trained. With ``auto`` it is ``logits`` if there are as many as classes.
        device: ``cpu``, ``cuda`` or ``auto``.
        name: the model's name in the report; its class's name if None.
        directory: where the report is written; a network's report is written nowhere if None.
        settings: the keys of ``solo_adv/conf/robust.yaml``: ``epsilons=["8/255"]``, ``steps=50``,
            ``autoattack=True``, ``linear="robust"``, ``max_images=1000``.

    Returns:
        The report. ``report.by_label`` has the measurements, each with its ``accuracy``.

    Raises:
        UserError: a setting, the model or the data cannot be used.
    """
    choice("output", output, OUTPUTS)
    if not isinstance(model, nn.Module):
        from solo_adv.evaluation.evaluating import evaluate as judge  # noqa: PLC0415

        cfg = config_of("robust", (), {**settings, "checkpoint": str(model), "accelerator": device})
        if directory is not None:
            cfg.results_dir = str(directory)
        if isinstance(data, tuple):
            raise UserError("A checkpoint is judged on a data set: give its name or its settings.")
        if data is not None:
            cfg.data.update({"dataset": data} if isinstance(data, str) else dict(data))
        return judge(cfg)[0]
    from solo_adv.evaluation.modules import evaluate_module  # noqa: PLC0415

    if data is None:
        raise UserError("data is missing: a data set's name, its settings, or images and labels.")
    train_set, test_set = sets_of(data)
    return evaluate_module(
        model,
        train_set,
        test_set,
        output=output,
        device=device,
        name=name or type(model).__name__,
        directory=None if directory is None else Path(directory),
        settings=settings,
    )


def run_benchmark(checkpoint: str | Path, **settings: Any) -> Benchmark:
    """Judge an encoder by the field's protocols, as ``python -m solo_adv.benchmark`` does.

    Args:
        checkpoint: a ``.ckpt`` file, a run's directory, ``latest`` or a name of the zoo.
        settings: the keys of ``solo_adv/conf/benchmark.yaml``: ``protocols=["slf"]``,
            ``recipe="..."``, ``data={"dataset": "cifar100"}``.

    Returns:
        The benchmark; ``benchmark.protocols`` has the figures of each protocol.

    Raises:
        UserError: a setting, the checkpoint or the data cannot be used.
    """
    from solo_adv.benchmark.running import run  # noqa: PLC0415

    if isinstance(settings.get("data"), str):
        settings["data"] = {"dataset": settings["data"]}
    return run(config_of("benchmark", (), {**settings, "checkpoint": str(checkpoint)}))[0]


def config_of(name: str, overrides: Sequence[str], settings: Mapping[str, Any]) -> DictConfig:
    """Compose a config of the package and set ``settings`` in it.

    Raises:
        UserError: a setting is not accepted by Hydra.
    """
    groups = config_groups()
    chosen = {k: v for k, v in settings.items() if isinstance(v, str) and k in groups}
    for group, option in chosen.items():
        choice(group, option, groups[group])
    cfg = composed(name, [*(f"{group}={option}" for group, option in chosen.items()), *overrides])
    for key, value in settings.items():
        if key not in chosen:
            OmegaConf.update(cfg, key, value, merge=True, force_add=True)
    return cfg


def sets_of(data: Data) -> tuple[ImageSet, ImageSet]:
    """The train and test set that ``data`` (see :func:`evaluate`) stands for.

    Raises:
        UserError: the data cannot be read, or are not images and labels.
    """
    if isinstance(data, str | Mapping):
        from solo_adv.data.config import DataConfig  # noqa: PLC0415
        from solo_adv.data.labelled import labelled_splits  # noqa: PLC0415

        given = {"dataset": data} if isinstance(data, str) else dict(data)
        if given.get("dataset") in config_groups()["data"]:
            given = {**plain(composed("cfamc", [f"data={given['dataset']}"]).data), **given}
        return labelled_splits(DataConfig.from_config(given))
    if len(data) == 2 and isinstance(data[0], tuple | list):
        return _image_set("train", *data[0]), _image_set("test", *data[1])
    one = _image_set("test", *data)
    return one, one


def _image_set(split: str, images: Any, labels: Any) -> ImageSet:
    pixels, classes = torch.as_tensor(images), torch.as_tensor(labels).cpu()
    if pixels.ndim != 4 or pixels.shape[1] != 3 or len(pixels) != len(classes):
        raise UserError(
            f"The {split} images must be (N, 3, H, W) with N labels; got "
            f"{tuple(pixels.shape)} and {tuple(classes.shape)}."
        )
    if classes.ndim != 1 or classes.is_floating_point():
        raise UserError(
            f"The {split} labels must be class numbers (N,); got {classes.dtype} of shape "
            f"{tuple(classes.shape)}. Of one-hot labels take labels.argmax(1)."
        )
    return ImageSet(f"given {split}", classes.long(), images=_levels(split, pixels))


def _levels(split: str, pixels: Tensor) -> Tensor:
    """Pixels as uint8, in which sets hold images."""
    pixels = pixels.cpu()
    if pixels.dtype == torch.uint8:
        return pixels
    if not pixels.is_floating_point() or not 0 <= float(pixels.min()) <= float(pixels.max()) <= 1:
        raise UserError(
            f"The {split} images must be uint8, or float in [0, 1]; got {pixels.dtype} from "
            f"{pixels.min()} to {pixels.max()}. The network normalises them, not the data."
        )
    return (pixels * 255).round().to(torch.uint8)
