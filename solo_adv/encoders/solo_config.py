"""Computes what solo-learn (v1.0.6) decides without writing it into its configs.

It works on plain configs, such as the ``args.json`` beside a checkpoint, and does not import
solo-learn.
"""

from collections.abc import Mapping
from typing import Any

from omegaconf import OmegaConf

from solo_adv.support.settings import plain

Config = Mapping[str, Any]

_CIFAR = ("cifar10", "cifar100")
_IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
# solo/data/pretrain_dataloader.py:206 overrides the YAML's mean and std for these data sets.
_STATISTICS = {
    "cifar10": ([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]),
    "cifar100": ([0.5071, 0.4865, 0.4409], [0.2673, 0.2564, 0.2762]),
    "stl10": ([0.4914, 0.4823, 0.4466], [0.247, 0.243, 0.261]),
    "imagenet100": _IMAGENET,
    "imagenet": _IMAGENET,
}

_OLD_IMAGENET = ([0.485, 0.456, 0.406], [0.228, 0.224, 0.225])
# solo/utils/pretrain_dataloader.py of versions before 1.0.3; later ones differ for CIFAR only.
_OLD_STATISTICS = {
    "cifar10": ([0.4914, 0.4822, 0.4465], [0.247, 0.243, 0.261]),
    "cifar100": ([0.4914, 0.4822, 0.4465], [0.247, 0.243, 0.261]),
    "stl10": ([0.4914, 0.4823, 0.4466], [0.247, 0.243, 0.261]),
    "imagenet100": _OLD_IMAGENET,
    "imagenet": _OLD_IMAGENET,
}


def of_flat(args: Config) -> dict[str, Any]:
    """The config that the flat ``args.json`` of versions before 1.0.6 stands for.

    Before version 1.0.3 the backbone was called encoder, and both CIFAR data sets were normalised
    by the statistics of CIFAR-10. Later versions have those that version 1.0.6 has.

    Raises:
        KeyError: it names no data set.
        TypeError: it has a value of another kind.
    """
    older = "encoder" in args
    kwargs = {**(args.get("backbone_args") or args.get("encoder_args") or {})}
    kwargs.pop("cifar", None)
    dataset = args["dataset"]
    size = args.get("crop_size") or (32 if dataset in _CIFAR else 224)
    size = int(size[0] if isinstance(size, list) else size)
    mean, std = _OLD_STATISTICS.get(dataset, (args.get("mean"), args.get("std")))
    if not older and dataset in _CIFAR:
        mean, std = _STATISTICS[dataset]
    if mean is None or std is None:
        mean, std = _OLD_STATISTICS["imagenet"]
    return {
        "method": args.get("method", "unknown"),
        "backbone": {"name": args["encoder" if older else "backbone"], "kwargs": kwargs},
        "data": {"dataset": dataset, "mean": list(mean), "std": list(std), "image_size": size},
        "augmentations": [{"crop_size": size}],
        "method_kwargs": {},
    }


def resolved(args: Config) -> dict[str, Any]:
    """Resolve the interpolations, such as ``${data.image_size}``, that an ``args.json`` keeps."""
    config: dict[str, Any] = plain(OmegaConf.create(dict(args)))
    return config


def statistics(config: Config) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of the three channels by which its loaders normalise."""
    dataset = config["data"].get("dataset")
    if dataset in _STATISTICS:
        return _STATISTICS[dataset]
    first = _first_augmentation(config)
    return list(first.get("mean", _IMAGENET[0])), list(first.get("std", _IMAGENET[1]))


def stem(config: Config) -> str:
    """The stem of its backbone, one of ``specification.STEMS``. It matters for ResNets only."""
    named = config["backbone"].get("stem") or "auto"
    if named != "auto":
        return str(named)
    cifar = config["backbone"]["name"].startswith("resnet") and config["data"]["dataset"] in _CIFAR
    return "cifar_padding2" if cifar else "imagenet"  # solo/methods/base.py:198


def view_size(config: Config) -> int:
    """Side in pixels of the first view that its loaders deliver."""
    default = 32 if config["data"].get("dataset") in _CIFAR else 224
    size = _first_augmentation(config).get("crop_size", default)
    return int(size[0] if isinstance(size, list) else size)


def views(config: Config) -> int:
    """How many views of that size its loaders deliver; 2 if the config does not say."""
    size = view_size(config)
    alike = [item for item in augmentations(config) if _side(item) == size]
    return _count(alike) or 2


def views_of_other_sizes(config: Config) -> int:
    """How many views of another size than the first its loaders deliver."""
    size = view_size(config)
    return _count([item for item in augmentations(config) if _side(item) != size])


def augmentations(config: Config) -> list[dict[str, Any]]:
    """Its augmentations, each with the number and the size of the views that it makes."""
    return config.get("augmentations") or []


def complete(config: Config) -> dict[str, Any]:
    """Complete a config of solo-learn so that the stand-in host would build the same encoder.

    This adds ``backbone.stem``, ``data.mean``, ``data.std``, ``data.image_size`` and ``crops``, and
    describes the data in the terms of this package's loaders.
    """
    data = dict(config["data"])
    mean, std = statistics(config)
    size = view_size(config)
    crops = dict(config.get("crops") or _crops(config))
    kept = {
        "dataset": "custom" if data.get("dataset") == "imagenet" else data.get("dataset"),
        "train_path": data.get("train_path"),
        "val_path": data.get("val_path"),
        "format": "image_folder" if data.get("format") == "dali" else data.get("format"),
        "image_size": data.get("image_size") or size,
        "num_workers": data.get("num_workers", 4),
        "mean": data.get("mean") or mean,
        "std": data.get("std") or std,
    }
    return {
        **config,
        "data": {key: value for key, value in kept.items() if value is not None},
        "backbone": {**config["backbone"], "stem": stem(config)},
        "crops": {**crops, "size": crops.get("size") or size},
    }


def _crops(config: Config) -> dict[str, Any]:
    """The fields of ``CropSpec``, taken from the config's first augmentation."""
    first = _first_augmentation(config)
    part = {name: first.get(name) or {} for name in ("rrc", "color_jitter")}
    scale = (part["rrc"].get("crop_min_scale", 0.08), part["rrc"].get("crop_max_scale", 1.0))

    def probability(name: str) -> float:
        return float((first.get(name) or {}).get("prob", 0.0))

    return {
        "num_crops": views(config),
        "size": view_size(config),
        "scale": list(scale) if part["rrc"].get("enabled", True) else [1.0, 1.0],
        "interpolation": "bicubic",
        "flip_prob": probability("horizontal_flip"),
        "jitter_prob": probability("color_jitter"),
        **{
            name: part["color_jitter"].get(name, 0.0)
            for name in ("brightness", "contrast", "saturation", "hue")
        },
        "grayscale_prob": probability("grayscale"),
        "blur_prob": probability("gaussian_blur"),
        "solarize_prob": probability("solarization"),
    }


def _first_augmentation(config: Config) -> dict[str, Any]:
    return (augmentations(config) or [{}])[0]


def _count(items: list[dict[str, Any]]) -> int:
    return sum(item.get("num_crops", 1) for item in items)


def _side(augmentation: Config) -> int | None:
    size = augmentation.get("crop_size")
    return size[0] if isinstance(size, list) else size
