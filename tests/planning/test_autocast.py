"""Types under CUDA's autocast, on a CPU."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from genlab.planning.autocast import AsOnCuda


def test_norms_and_sums_are_full_and_products_and_activations_half() -> None:
    x = torch.randn(4, 8, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16), AsOnCuda():
        assert F.layer_norm(x, (8,)).dtype == torch.float32
        assert x.softmax(1).dtype == torch.float32
        assert x.sum().dtype == torch.float32
        assert torch.exp(x).dtype == torch.float32
        assert F.linear(x.float(), torch.ones(3, 8)).dtype == torch.bfloat16
        assert F.gelu(x).dtype == torch.bfloat16
    with AsOnCuda():
        assert x.sum().dtype == torch.bfloat16


def test_the_gradient_has_the_arguments_type() -> None:
    x = torch.randn(4, 8, dtype=torch.bfloat16, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16), AsOnCuda():
        x.softmax(1).square().sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == torch.bfloat16
