"""A plain fully connected network of the pixels, of any depth."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from genlab.networks.layers import dense_layers


class PlainMLP(nn.Sequential):
    """Equally wide linear layers, each with norm and activation: (B, C, H, W) -> (B, width).

    Args:
        in_chans: number of image channels.
        image_size: side of the images in pixels.
        depth: number of layers.
        width: width of each.
        norm: norm between a layer and its activation, or null; see `norms.norm_behind`.
        act: activation; see `layers.ACTIVATIONS`.
        init: initialisation; see `layers.INITS`.

    Raises:
        ValueError: unknown name, or no layer.
    """

    def __init__(
        self,
        in_chans: int = 3,
        image_size: int = 32,
        depth: int = 3,
        width: int = 256,
        norm: str | bool | None = None,
        act: str = "relu",
        init: str = "torch",
    ) -> None:
        if depth < 1:
            raise ValueError(f"mlp: depth must be at least 1, got {depth}")
        layers: list[nn.Module] = [nn.Flatten()]
        dim = in_chans * image_size**2
        for _ in range(depth):
            made = dense_layers(dim, width, norm, act, init)
            layers += [nn.Sequential(*(layer for layer in made if layer is not None))]
            dim = width
        super().__init__(*layers)

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, width, 1, 1)."""
        return self(x)[:, :, None, None]

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Layers in order, as timm's networks tell them."""
        return {"stem": r"^1\.", "layers": r"^(\d+)\."}
