import torch

from solo_adv.crops import CropSpec
from solo_adv.crops.torchvision import TorchvisionCrops


def test_float_images_are_rounded_to_8_bits():
    images = torch.full((1, 3, 32, 32), 99.6 / 255)
    spec = CropSpec(num_crops=2, jitter_prob=0, grayscale_prob=0, solarize_prob=0)
    torch.testing.assert_close(
        TorchvisionCrops(spec)(images), torch.full((2, 3, 32, 32), 100 / 255), atol=1e-6, rtol=0
    )
