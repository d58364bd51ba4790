"""DINOv2's features for distances, against a reference written out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import Tensor

from genlab.evaluation import open_judge, published
from genlab.evaluation.dinov2 import MEAN, STD, DINOv2, pil_resized, resized_positions

SMALL = "vit_small_patch14_dinov2"


def made_up_weights() -> dict[str, Tensor]:
    """Weights with the names of the authors' file, in which every part matters."""
    fresh = timm.create_model(SMALL, num_classes=0, pretrained=False).state_dict()
    weights = {name: torch.randn_like(value) * 0.05 for name, value in fresh.items()}
    for name in weights:
        if ("norm" in name and name.endswith("weight")) or name.endswith("gamma"):
            weights[name] += 0.5
    return weights | {"mask_token": torch.zeros(1, 384)}


def cubic(x: float) -> float:
    """Keys's kernel with a = -0.75, torch's."""
    a, x = -0.75, abs(x)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def test_positions_are_interpolated_with_the_authors_offset() -> None:
    """Place i of 16 is (i + .5) 37 / 16.1 - .5 of 37: not the 37 / 16 of a plain resize."""
    places = torch.randn(1, 1 + 37 * 37, 3)
    found = resized_positions(places, 16)
    matrix = torch.zeros(16, 37)
    for i in range(16):
        at = (i + 0.5) * 37 / 16.1 - 0.5
        for j in range(int(np.floor(at)) - 1, int(np.floor(at)) + 3):
            matrix[i, min(max(j, 0), 36)] += cubic(at - j)
    grid = places[0, 1:].view(37, 37, 3)
    expected = torch.einsum("ia,jb,abf->ijf", matrix, matrix, grid).reshape(256, 3)
    torch.testing.assert_close(found[0, 1:], expected, atol=1e-4, rtol=0)
    assert torch.equal(found[:, 0], places[:, 0])


def test_features_are_those_of_a_vit_written_out() -> None:
    weights = made_up_weights()
    network = DINOv2(weights, SMALL)
    image = torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8)
    found, logits = network(image)
    assert logits is None
    x = (pil_resized(image, 224).float() / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(
        STD
    ).view(3, 1, 1)
    patches = x.unfold(2, 14, 14).unfold(3, 14, 14).permute(0, 2, 3, 1, 4, 5).reshape(2, 256, -1)
    x = patches @ weights["patch_embed.proj.weight"].flatten(1).T + weights["patch_embed.proj.bias"]
    x = torch.cat([weights["cls_token"].expand(2, -1, -1), x], 1)
    x = x + resized_positions(weights["pos_embed"], 16)

    def norm(x: Tensor, name: str) -> Tensor:
        return torch.nn.functional.layer_norm(
            x, (384,), weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-6
        )

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    for n in range(12):
        block = f"blocks.{n}"
        qkv = linear(norm(x, f"{block}.norm1"), f"{block}.attn.qkv").view(2, 257, 3, 6, 64)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = (q @ k.transpose(2, 3) / 8).softmax(3) @ v
        out = linear(mixed.transpose(1, 2).flatten(2), f"{block}.attn.proj")
        x = x + weights[f"{block}.ls1.gamma"] * out
        hidden = torch.nn.functional.gelu(linear(norm(x, f"{block}.norm2"), f"{block}.mlp.fc1"))
        x = x + weights[f"{block}.ls2.gamma"] * linear(hidden, f"{block}.mlp.fc2")
    torch.testing.assert_close(found, norm(x, "norm")[:, 0], atol=1e-3, rtol=1e-3)


def test_bytes_are_resized_by_pil() -> None:
    image = torch.randint(256, (1, 3, 40, 40), dtype=torch.uint8)
    one = Image.fromarray(image[0].permute(1, 2, 0).numpy())
    expected = np.asarray(one.resize((224, 224), Image.Resampling.BICUBIC))
    assert np.array_equal(pil_resized(image, 224)[0].permute(1, 2, 0).numpy(), expected)
    assert pil_resized(image, 40) is image
    with pytest.raises(ValueError, match=r"takes bytes \(B, 3, H, W\)"):
        DINOv2(architecture=SMALL)(image.float())


def test_the_judge_reads_the_authors_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With a smaller network in the place of the large one."""
    known = published.NETWORKS["dinov2"]
    small = known._replace(network=lambda weights: DINOv2(weights, SMALL), dim=384)
    monkeypatch.setitem(published.NETWORKS, "dinov2", small)
    monkeypatch.setenv("GENLAB_WEIGHTS", str(tmp_path))
    torch.save(made_up_weights(), tmp_path / known.file)
    judge = open_judge("dinov2")
    assert (judge.name, judge.dim, judge.classes) == ("dinov2", 384, 0)
    assert "grey as 3 equal colours" in judge.preprocessing(1, 8)
    features, _ = judge(torch.randint(256, (3, 1, 8, 8), dtype=torch.uint8))
    assert features.shape == (3, 384)
    torch.save({"x": torch.ones(1)}, tmp_path / known.file)
    with pytest.raises(ValueError, match="not weights of vit_small_patch14_dinov2"):
        open_judge("dinov2")
