"""Batch normalisation with the joint statistics of all processes' batches, on GPUs and CPUs."""

from typing import Any

import torch
from lightning.pytorch.plugins import LayerSync
from timm.layers import convert_sync_batchnorm
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from solo_adv.support.gather import gather_batch
from solo_adv.support.processes import world_size


class SyncedBatchNorm(LayerSync):
    """Lightning plugin that makes a model's batch norms use the statistics of all processes.

    Lightning's own plugin removes the activation of timm's layers that have one
    (``BatchNormAct2d``).

    Args:
        gpu: whether the model is on GPUs, where torch's own synchronised layers are used.
    """

    def __init__(self, *, gpu: bool) -> None:
        self.gpu = gpu

    def apply(self, model: nn.Module) -> nn.Module:
        """Replace the batch norms; the new layers hold the same parameters and buffers."""
        if self.gpu:
            synced: nn.Module = convert_sync_batchnorm(model)
            return synced
        return _with_process_batch_norm(model)

    def revert(self, model: nn.Module) -> nn.Module:
        """Return the model unchanged, because in a single process its layers do nothing special."""
        return model


class ProcessBatchNorm(_BatchNorm):
    """Normalises (N, C, ...) by the mean and variance over N of all processes.

    It does what ``torch.nn.SyncBatchNorm`` does on GPUs only. Gradients flow through the statistics
    to all processes, so each process must compute the loss of the whole batch
    (``objectives.gather_batch``).
    """

    def _check_input_dim(self, input: Tensor) -> None:
        pass  # any number of dimensions is accepted

    def forward(self, input: Tensor) -> Tensor:
        normalised = self._shared(input) if self._shares() else super().forward(input)
        for name in ("drop", "act"):  # timm's layers have these as submodules
            if name in self._modules:
                normalised = getattr(self, name)(normalised)
        return normalised

    def _shares(self) -> bool:
        return world_size() > 1 and self.training

    def _shared(self, input: Tensor) -> Tensor:
        exact = input.float() if input.dtype in (torch.float16, torch.bfloat16) else input
        dims = [dim for dim in range(input.ndim) if dim != 1]
        mean, variance, count = _global_statistics(exact, dims)
        if self.training and self.track_running_stats:
            self._track(mean.detach(), variance.detach() * count / (count - 1))
        scale = torch.rsqrt(variance + self.eps)
        shift = -mean * scale
        if self.affine:
            scale, shift = scale * self.weight, shift * self.weight + self.bias
        shape = [-1 if dim == 1 else 1 for dim in range(input.ndim)]
        return (exact * scale.view(shape) + shift.view(shape)).to(input.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        weight = self.momentum
        if weight is None:  # the running statistics are the plain mean over all batches
            weight = 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), weight)
        self.running_var.lerp_(variance.to(self.running_var.dtype), weight)


def _global_statistics(input: Tensor, dims: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (C,), biased variance (C,) and number of elements (1,) of all processes together."""
    variance, mean = torch.var_mean(input, dims, correction=0)
    channels = len(mean)
    count = mean.new_full((1,), input.numel() / channels)
    parts = gather_batch(torch.cat([mean, variance, count])[None], dim=0)
    means, variances, counts = parts.split([channels, channels, 1], dim=1)
    share = counts / counts.sum()
    mean = (share * means).sum(0)
    # Adding variances and squared distances of the means avoids a difference of large numbers.
    variance = (share * (variances + (means - mean) ** 2)).sum(0)
    return mean, variance, counts.sum(0)


def _with_process_batch_norm(module: nn.Module) -> nn.Module:
    for name, child in module.named_children():
        setattr(module, name, _with_process_batch_norm(child))
    if not isinstance(module, _BatchNorm) or isinstance(module, ProcessBatchNorm):
        return module
    settings: dict[str, Any] = {"eps": module.eps, "momentum": module.momentum}
    shared = ProcessBatchNorm(module.num_features, **settings, affine=False)
    shared.affine = module.affine
    shared.track_running_stats = module.track_running_stats
    for held in (module._parameters, module._buffers, module._modules):
        for name, value in held.items():
            setattr(shared, name, value)
    return shared.train(module.training)
