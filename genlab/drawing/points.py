"""Images of points in the plane, and of densities."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from genlab.drawing.charts import figure, pixels, plain

CELLS = 200  # of the density's picture, each way


def is_plane(images: Tensor) -> bool:
    """True if the arrays are points in the plane: (N, 2, 1, 1)."""
    return images.shape[1:] == (2, 1, 1)


def draw(
    panels: dict[str, Tensor],
    reach: float,
    log_prob: Any = None,
    device: torch.device | str = "cpu",
    title: str = "",
) -> np.ndarray:
    """Clouds of points, then a density, side by side: (H, W, 3) bytes.

    Args:
        panels: titles and points, (N, 2, 1, 1) each.
        reach: [-reach, reach] is shown, both ways.
        log_prob: (N, 2, 1, 1) -> (N,) nats; None for no density.
        device: device on which ``log_prob`` computes.
        title: text above all panels.
    """
    count = len(panels) + (log_prob is not None)
    chart = figure(3.2 * count + 0.8 * (log_prob is not None), 3.4 + 0.3 * bool(title))
    axes = chart.subplots(1, count, squeeze=False)[0]
    for place, (name, points) in zip(axes, panels.items(), strict=False):
        x, y = points.detach().float().cpu().reshape(-1, 2).T
        place.scatter(x, y, s=2, linewidths=0, alpha=0.5)
        place.set(title=name, xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    if log_prob is not None:
        extent = (-reach, reach, -reach, reach)
        shown = axes[-1].imshow(density(log_prob, reach, device), origin="lower", extent=extent)
        axes[-1].set(title="density", yticks=axes[0].get_yticks(), ylim=(-reach, reach))
        chart.colorbar(shown, ax=axes[-1], shrink=0.8, label="per unit of area")
    if title:
        chart.suptitle(plain(title), fontsize=10)
    return pixels(chart)


@torch.no_grad()
def density(log_prob: Any, reach: float, device: torch.device | str) -> np.ndarray:
    """The density at the centres of a square's cells, a row for each y: (CELLS, CELLS)."""
    line = ((torch.arange(CELLS) + 0.5) / CELLS * 2 - 1) * reach
    y, x = torch.meshgrid(line, line, indexing="ij")
    points = torch.stack([x, y], -1).view(-1, 2, 1, 1).to(device)
    parts = [log_prob(part).exp().float().cpu() for part in points.split(8192)]
    return torch.cat(parts).view(CELLS, CELLS).numpy()
