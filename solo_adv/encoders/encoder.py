"""A pretrained encoder as a module that takes pixels and returns features."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from solo_adv.data.config import judged_crop
from solo_adv.encoders.backbones import Normalization, architecture, build_backbone
from solo_adv.encoders.preprocessing import preprocessing
from solo_adv.encoders.projector import Projector
from solo_adv.support.checks import choice
from solo_adv.support.errors import UserError
from solo_adv.support.pixels import PixelCheck

if TYPE_CHECKING:
    from torchvision.transforms.v2 import Compose

FEATURES = ("auto", "hidden", "backbone", "projector")


class Encoder(nn.Module):
    """An encoder from pixels (N, 3, H, W) in [0, 1] to features (N, D), built from a config.

    Args:
        config: the complete pretraining config.
        features: ``hidden`` (the features after the projector's first layer, which the paper
            evaluates), ``projector`` (the unit embeddings), ``backbone``, or ``auto``, which is
            ``hidden`` if the checkpoint has this package's projector and ``backbone`` otherwise.
        with_projector: whether it has this package's projector. With None it has one if the config
            has the projector's settings.
        crop_passes: number of crop passes of its training; None if they were not counted.

    Raises:
        UserError: ``features`` is not accepted, or needs a projector that the encoder lacks.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        features: str,
        *,
        with_projector: bool | None = None,
        crop_passes: int | None = None,
    ) -> None:
        super().__init__()
        choice("features", features, FEATURES)
        if with_projector is None:
            with_projector = "proj_hidden_dim" in config["method_kwargs"]
        if features == "auto":
            features = "hidden" if with_projector else "backbone"
        if features != "backbone" and not with_projector:
            raise UserError(
                f"features={features}: an encoder of the method {config['method']} has no "
                "projector that this package knows; use features=backbone."
            )
        self.config = dict(config)
        self.features = features
        self.crop_passes = crop_passes
        data, backbone = config["data"], config["backbone"]
        self.check_pixels = PixelCheck("Encoders")
        self.normalization = Normalization(data.get("mean"), data.get("std"))
        self.image_size: int = config["crops"]["size"]
        self.taken_size = (self.image_size, self.image_size)
        """Height and width that a backbone of one size takes; ``fit_to_images`` can change them."""
        self.backbone, backbone_dim = build_backbone(
            backbone["name"],
            image_size=self.image_size,
            stem=backbone.get("stem", "auto"),
            **architecture(backbone.get("kwargs")),
        )
        self.dims = {"backbone": backbone_dim}
        if with_projector:
            kwargs = config["method_kwargs"]
            hidden_dim, output_dim = kwargs["proj_hidden_dim"], kwargs["proj_output_dim"]
            self.projector = Projector(backbone_dim, hidden_dim, output_dim)
            self.dims |= {"hidden": hidden_dim, "projector": output_dim}
        self.features_dim = self.dims[features]

    def forward(self, images: Tensor) -> Tensor:
        """Compute features (N, D) of pixels (N, 3, H, W), float in [0, 1].

        Raises:
            UserError: the images are not such pixels, or of a precision or a size that the encoder
                does not take.
        """
        features: Tensor = self._compute(self.backbone, images)
        if self.features == "backbone":
            return features
        if self.features == "hidden":
            return self.projector.hidden(features)
        return self.projector(features)[1]

    @property
    def num_features(self) -> int:
        """Dimension D of the features, under timm's name."""
        return self.features_dim

    @property
    def preprocess(self) -> "Compose":
        """A transform of torchvision from a PIL image to pixels (3, H, W), float in [0, 1].

        It resizes and crops as evaluations do. Normalisation is part of the encoder.
        """
        data = self.config["data"]
        crop = judged_crop(data, self.image_size)
        return preprocessing(data.get("image_size") or self.image_size, crop)

    def forward_features(self, images: Tensor) -> Tensor:
        """Compute what the backbone returns before it pools: maps (N, C, h, w) or tokens (N, T, C).

        Args:
            images: pixels (N, 3, H, W), float in [0, 1].

        Raises:
            UserError: the images are not such pixels, or the backbone is not of timm.
        """
        features: Tensor = self._compute(self._of_timm("forward_features"), images)
        return features

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        """Compute feature maps (N, C, h, w), the first stage's first, for dense tasks.

        Of a ResNet they are those of the stem and of the four stages, of a transformer those of
        each block.

        Args:
            images: pixels (N, 3, H, W), float in [0, 1].

        Raises:
            UserError: the images are not such pixels, or the backbone is not of timm.
        """
        compute = self._of_timm("forward_intermediates")
        maps: list[Tensor] = self._compute(
            compute, images, output_fmt="NCHW", intermediates_only=True
        )
        return maps

    def _compute(self, network: Callable[..., Any], images: Tensor, **options: Any) -> Any:
        """Check the images, normalise them, and pass them through a part of the backbone."""
        self._check(images)
        try:
            return network(self.normalization(images), **options)
        except AssertionError as error:  # this is how networks of timm refuse another size
            raise self._refused(images) or error from None

    def _check(self, images: Tensor) -> None:
        self.check_pixels(images)
        weight = next(self.backbone.parameters(), None)
        if weight is None or weight.dtype == images.dtype:
            return
        if not torch.is_autocast_enabled(images.device.type):
            raise UserError(
                f"The encoder computes in {weight.dtype}, and the images are {images.dtype}: give "
                f"images.to({weight.dtype}), or call encoder.to({images.dtype}) before."
            )

    def _refused(self, images: Tensor) -> UserError | None:
        height, width = images.shape[-2:]
        if (height, width) == self.taken_size:
            return None
        rows, columns = self.taken_size
        return UserError(
            f"{self.config['backbone']['name']} takes images of {columns}x{rows} pixels, and these "
            f"have {width}x{height}: resize them, as encoder.preprocess does."
        )

    def _of_timm(self, method: str) -> Any:
        found = getattr(self.backbone, method, None)
        if found is None:
            raise UserError(
                f"The backbone {self.config['backbone']['name']} has no {method}, which networks "
                "of timm have: call the encoder itself, or take a network of timm."
            )
        return found
