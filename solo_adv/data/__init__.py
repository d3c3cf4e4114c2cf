"""Images to train and test on: from disk to batches on the device."""

from solo_adv.data.config import DATASETS, DataConfig
from solo_adv.data.datasets import load_split
from solo_adv.data.image_set import ImageSet
from solo_adv.data.loaders import ResidentLoader, StreamingLoader, streaming_loader
from solo_adv.data.sampling import EpochSampler

__all__ = [
    "DATASETS",
    "DataConfig",
    "EpochSampler",
    "ImageSet",
    "ResidentLoader",
    "StreamingLoader",
    "load_split",
    "streaming_loader",
]
