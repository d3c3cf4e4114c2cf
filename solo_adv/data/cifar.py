"""CIFAR-10 and CIFAR-100 from torchvision's own files."""

import torch
from torchvision.datasets import CIFAR10, CIFAR100

from solo_adv.data.config import DataConfig
from solo_adv.data.downloads import Files, ensure
from solo_adv.data.sources import ArraySources, RawSplit
from solo_adv.support.files import given_path

CLASSES: dict[str, type[CIFAR10]] = {"cifar10": CIFAR10, "cifar100": CIFAR100}


def read(config: DataConfig, split: str) -> RawSplit:
    """Read the 50,000 train or 10,000 test images, 32x32 pixels.

    The files are looked for on disk first, extracted or as the archive. If neither is there and
    ``config.download`` allows it, they are downloaded. torchvision checks their MD5 sums.

    Raises:
        UserError: the files are not on disk and could not be downloaded.
    """
    kind = CLASSES[config.dataset]
    files = _files(config.dataset)
    root = files.root(given_path(config.path_of(split)))
    ensure(files, root, download=config.download)
    dataset = kind(root, train=split == "train", download=False)
    labels = torch.tensor(dataset.targets, dtype=torch.long)
    return RawSplit(ArraySources(dataset.data), labels, tuple(dataset.classes))


def _files(dataset: str) -> Files:
    kind = CLASSES[dataset]
    meta = {str(kind.meta["filename"]): str(kind.meta["md5"])}
    return Files(
        dataset=dataset,
        title=kind.__name__,
        folder=kind.base_folder,
        sums={**dict(kind.train_list), **dict(kind.test_list), **meta},
        url=kind.url,
        archive=(kind.filename, kind.tgz_md5),
    )
