"""DINOv2 as the network of published Fréchet distances, resizing included.

Oquab et al. 2023, arXiv:2304.07193; for distances of samples: Stein et al. 2023, arXiv:2306.04675
(dgm-eval): images as bytes to 224 px, bicubic; ImageNet's mean and deviation; the class token after
the last norm; published distances are of 50,000 samples against the whole training set. Position
embeddings are interpolated as the authors' code does for torch.hub, bicubic, not antialiased, by a
factor that is a tenth of a patch too large: timm's own way gives other features. Departures: none.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import timm
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from genlab.internals import messages

ARCHITECTURE, SIDE, PATCH, DIM = "vit_large_patch14_dinov2", 224, 14, 1024
OFFSET = 0.1  # of a patch
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class DINOv2(nn.Module):
    """A ViT of DINOv2: bytes of colour images -> normalised class tokens.

    Args:
        weights: a state dict of the authors' file; None for fresh weights.
        architecture: timm's name of the network.

    Raises:
        ValueError: the weights are of another network.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, weights: dict[str, Tensor] | None = None, architecture: str = ARCHITECTURE
    ) -> None:
        super().__init__()
        network: Any = timm.create_model(architecture, num_classes=0, pretrained=False)
        if weights is not None:
            known = {name: value for name, value in weights.items() if name != "mask_token"}
            try:
                network.load_state_dict(known)
            except RuntimeError as error:
                why = messages.mismatch(error)
                raise ValueError(f"these are not weights of {architecture}: {why}") from None
        places = resized_positions(network.pos_embed.data, SIDE // PATCH)
        network.set_input_size((SIDE, SIDE))
        network.pos_embed = nn.Parameter(places)
        self.network = network.eval().requires_grad_(False)
        for name, values in (("mean", MEAN), ("std", STD)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> tuple[Tensor, None]:
        """(B, 3, H, W) uint8 -> class tokens (B, F), and no logits."""
        if image.dtype != torch.uint8 or image.shape[1] != 3:
            raise ValueError(f"DINOv2 takes bytes (B, 3, H, W), got {tuple(image.shape)}")
        unit = pil_resized(image, SIDE).to(self.mean.device).float() / 255
        network: Any = self.network
        tokens: Tensor = network.forward_features((unit - self.mean) / self.std)
        return tokens[:, 0], None


def resized_positions(places: Tensor, side: int) -> Tensor:
    """Position embeddings of another grid, as the authors interpolate them.

    Args:
        places: (1, 1 + n n, F), the class token's first.
        side: rows and columns of the new grid.

    Returns:
        (1, 1 + side side, F).
    """
    count = int((places.shape[1] - 1) ** 0.5)
    grid = places[:, 1:].unflatten(1, (count, count)).permute(0, 3, 1, 2)  # (1, F, n, n)
    factor = (side + OFFSET) / count
    found = F.interpolate(grid, scale_factor=(factor, factor), mode="bicubic")
    return torch.cat([places[:, :1], found.flatten(2).transpose(1, 2)], 1)


def pil_resized(image: Tensor, side: int) -> Tensor:
    """Bytes (B, 3, H, W) to (B, 3, side, side) by PIL's bicubic filter, which is antialiased."""
    if image.shape[2:] == (side, side):
        return image
    size = (side, side)
    resized = [
        np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BICUBIC))
        for one in image.permute(0, 2, 3, 1).cpu().numpy()
    ]
    return torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2)
