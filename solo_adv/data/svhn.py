"""SVHN, cropped digits, from its published files (train_32x32.mat), as torchvision reads them."""

import numpy as np
import torch
from torchvision.datasets import SVHN

from solo_adv.data.config import DataConfig
from solo_adv.data.downloads import Files, ensure
from solo_adv.data.sources import ArraySources, JoinedSources, RawSplit
from solo_adv.support.files import given_path

NAMES = tuple("0123456789")


def read(config: DataConfig, split: str) -> RawSplit:
    """Read the 73,257 train, 531,131 extra or 26,032 test images, 32x32 pixels.

    ``config.train_split`` says which images are trained on.

    Raises:
        UserError: the files are not on disk and could not be downloaded.
    """
    root = given_path(config.path_of(split))
    sources: list[ArraySources] = []
    labels: list[torch.Tensor] = []
    for part in config.parts_of(split):
        url, name, md5 = SVHN.split_list[part]
        files = Files(dataset="svhn", title="SVHN", folder="", sums={name: md5}, url=url)
        ensure(files, root, download=config.download)
        dataset = SVHN(root, split=part, download=False)
        sources.append(ArraySources(dataset.data.transpose(0, 2, 3, 1)))
        labels.append(torch.from_numpy(np.atleast_1d(dataset.labels)))
    return RawSplit(JoinedSources(sources), torch.cat(labels), NAMES)
