"""STL-10 from its published files (stl10_binary/*.bin), which torchvision reads as well."""

from pathlib import Path

import numpy as np
import torch
from torchvision.datasets import STL10

from solo_adv.data.config import DataConfig
from solo_adv.data.downloads import Files, ensure
from solo_adv.data.sources import ArraySources, JoinedSources, RawSplit
from solo_adv.support.files import given_path

NAMES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
SIDE = 96
STEMS = {"train": "train", "test": "test", "unlabelled": "unlabeled"}


def read(config: DataConfig, split: str) -> RawSplit:
    """Read the 5,000 train, 100,000 unlabelled or 8,000 test images, 96x96 pixels.

    ``config.train_split`` says which images are trained on. Only the files that are read need to be
    there. They are not loaded into memory before an image is decoded.

    Raises:
        UserError: the files are not on disk and could not be downloaded.
    """
    parts = config.parts_of(split)
    files = _files([STEMS[part] for part in parts])
    root = files.root(given_path(config.path_of(split)))
    ensure(files, root, download=config.download)
    read_parts = [_read(root / files.folder, STEMS[part]) for part in parts]
    sources = JoinedSources([ArraySources(images) for images, _ in read_parts])
    return RawSplit(sources, torch.cat([labels for _, labels in read_parts]), NAMES)


def _read(folder: Path, stem: str) -> tuple[np.ndarray, torch.Tensor]:
    """The images, uint8 (N, 96, 96, 3), and the labels, long (N,), -1 where unlabelled."""
    stored = np.memmap(folder / f"{stem}_X.bin", np.uint8, mode="r").reshape(-1, 3, SIDE, SIDE)
    images = stored.transpose(0, 3, 2, 1)  # each channel is stored by columns
    file = folder / f"{stem}_y.bin"
    if stem == "unlabeled":
        return images, torch.full((len(images),), -1)
    return images, torch.from_numpy(np.fromfile(file, np.uint8).astype(np.int64) - 1)


def _files(stems: list[str]) -> Files:
    wanted = [f"{stem}_{kind}.bin" for stem in stems for kind in "Xy"]
    published = {str(name): str(md5) for name, md5 in [*STL10.train_list, *STL10.test_list]}
    return Files(
        dataset="stl10",
        title="STL-10",
        folder=STL10.base_folder,
        sums={name: md5 for name, md5 in published.items() if name in wanted},
        url=STL10.url,
        archive=(STL10.filename, STL10.tgz_md5),
    )
