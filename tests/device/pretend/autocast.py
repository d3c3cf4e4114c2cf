"""Autocast of the pretend device, as CUDA has it for the operations of networks and losses."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

_KEY = "AutocastPrivateUse1"
_LOW = (
    *("conv1d", "conv2d", "conv3d", "convolution", "linear", "matmul", "mm", "bmm", "mv"),
    *("addmm", "addmv", "addbmm", "baddbmm", "einsum", "scaled_dot_product_attention"),
)
_FLOAT32 = (
    *("exp", "expm1", "log", "log1p", "log2", "log10", "pow.Tensor_Scalar", "pow.Tensor_Tensor"),
    *("pow.Scalar", "rsqrt", "reciprocal", "acos", "asin", "cosh", "sinh", "tan", "softplus"),
    *("layer_norm", "group_norm", "nll_loss", "cross_entropy_loss", "kl_div", "l1_loss"),
    *("mse_loss", "smooth_l1_loss", "huber_loss", "cosine_similarity", "cosine_embedding_loss"),
    *("norm.Scalar", "norm.ScalarOpt_dim", "linalg_vector_norm", "cdist", "dist", "renorm"),
    *("logsumexp", "softmax.int", "log_softmax.int", "sum", "sum.dim_IntList", "prod", "cumsum"),
    *("cumprod", "binary_cross_entropy_with_logits"),
)
_WIDEST = ("cat", "stack", "dot", "addcdiv", "addcmul", "grid_sampler", "index_put", "scatter_add")


def cast_on(library: torch.library.Library, device: str) -> None:
    """Register the casts of autocast for operations on the device."""
    excluded = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)

    def register(name: str, chosen: Any) -> None:
        base, _, overload = name.partition(".")
        op = getattr(getattr(torch.ops.aten, base), overload or "default")

        def kernel(*args: Any, **kwargs: Any) -> Any:
            with torch._C._ExcludeDispatchKeyGuard(excluded):
                dtype = chosen((args, kwargs))

                def cast(value: Any) -> Any:
                    floating = isinstance(value, Tensor) and value.is_floating_point()
                    here = floating and value.device.type == device
                    return value.to(dtype) if here and value.dtype != torch.float64 else value

                args_, kwargs_ = tree_map(cast, (args, kwargs))
                return op(*args_, **kwargs_)

        library.impl(name, kernel, _KEY)

    def widest(values: Any) -> torch.dtype:
        found = {v.dtype for v in tree_leaves(values) if isinstance(v, Tensor)}
        return torch.float32 if torch.float32 in found else torch.get_autocast_dtype(device)

    for name in _LOW:
        register(name, lambda _: torch.get_autocast_dtype(device))
    for name in _FLOAT32:
        register(name, lambda _: torch.float32)
    for name in _WIDEST:
        register(name, widest)
