"""CUDA's choice of types under autocast, for tensors of the CPU that stand for those of a GPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

HALVES = (torch.bfloat16, torch.float16)
FULL = {  # in float32 on CUDA, by torch's documentation of autocast; on a CPU mostly not
    "__pow__", "__rdiv__", "__rpow__", "__rtruediv__", "acos", "asin",
    "binary_cross_entropy_with_logits", "cdist", "cosh", "cosine_embedding_loss",
    "cosine_similarity", "cross_entropy", "cumprod", "cumsum", "dist", "erfinv", "exp", "expm1",
    "group_norm", "hinge_embedding_loss", "kl_div", "l1_loss", "layer_norm", "log", "log10",
    "log1p", "log2", "log_softmax", "logsumexp", "margin_ranking_loss", "mse_loss",
    "multi_margin_loss", "multilabel_margin_loss", "nll_loss", "norm", "normalize", "pdist",
    "poisson_nll_loss", "pow", "prod", "reciprocal", "renorm", "rsqrt", "sinh", "smooth_l1_loss",
    "soft_margin_loss", "softmax", "softmin", "softplus", "sum", "tan", "triplet_margin_loss",
}  # fmt: skip


class AsOnCuda(TorchFunctionMode):
    """Mode in which functions that CUDA's autocast computes in float32 get float32.

    It acts inside ``torch.autocast("cpu")`` only, whose list of functions in bfloat16 is CUDA's.
    Functions called inside other functions of torch are not seen.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given = kwargs or {}
        if torch.is_autocast_enabled("cpu") and getattr(func, "__name__", "") in FULL:
            args = tuple(_full(value) for value in args)
            given = {name: _full(value) for name, value in given.items()}
        return func(*args, **given)


def _full(value: Any) -> Any:
    half = isinstance(value, Tensor) and value.dtype in HALVES
    return value.float() if half else value
