"""Scatter plot of features in two dimensions, coloured by label."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from genlab.drawing.charts import figure, palette, plain, save
from genlab.metrics import Bank

MOST_PCA, MOST_TSNE = 5_000, 2_000  # points that still make a readable image in seconds
MOST_CLASSES = 20  # that a legend can hold; of more the title says the number


def project(bank: Bank, tsne: bool = False, seed: int = 0) -> tuple[np.ndarray, np.ndarray, str]:
    """Project features to points (N, 2), with their labels (N,) and the name of the projection.

    Args:
        bank: features; at most 5,000 of them (2,000 for t-SNE) are drawn.
        tsne: scikit-learn's t-SNE (van der Maaten & Hinton 2008) instead of the two principal
            components. Distances between groups and their sizes are meaningless in it.
        seed: seed of the choice of points and of t-SNE.
    """
    most = MOST_TSNE if tsne else MOST_PCA
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(bank.label), generator=generator)[:most]
    x, label = bank.features[rows].double(), bank.label[rows].numpy()
    if tsne:
        from sklearn.manifold import TSNE

        perplexity = min(30.0, max(1.0, (len(x) - 1) / 3))
        model = TSNE(2, perplexity=perplexity, init="pca", random_state=seed)
        points = model.fit_transform(x.float().numpy())
        return points, label, f"t-SNE, perplexity {perplexity:.0f}"
    x = x - x.mean(0)
    _, s, v = torch.linalg.svd(x, full_matrices=False)
    share = (s.square() / s.square().sum().clamp(min=1e-300))[:2].sum()
    points = (x @ v[:2].T).numpy()
    return points, label, f"two principal components, {float(share):.0%} of the variance"


def scatter(
    bank: Bank,
    file: Path,
    title: str,
    tsne: bool = False,
    seed: int = 0,
    names: Sequence[str] = (),
) -> Path:
    """Write the plot of `project` as a PNG and return its path; ``names`` are those of the labels.

    Raises:
        ValueError: fewer than two images, or features of fewer than two numbers.
    """
    if min(bank.features.shape) < 2:
        raise ValueError(
            f"features {tuple(bank.features.shape)} cannot be plotted in two dimensions"
        )
    points, label, how = project(bank, tsne, seed)
    chart = figure(7.5, 6, dpi=120)
    axes = chart.add_subplot()
    classes = np.unique(label)
    colours = palette(len(classes))
    size = min(30.0, max(6.0, 6_000 / len(label)))
    for number, k in enumerate(classes):
        mine = points[label == k]
        colour, name = colours(number), _name(int(k), names)
        axes.scatter(
            mine[:, 0], mine[:, 1], s=size, linewidths=0, alpha=0.8, color=colour, label=name
        )
    what = f"{len(label):,} images"
    if len(classes) > MOST_CLASSES:
        what += f" of {len(classes):,} classes, a colour each"
    else:
        scale = (50 / size) ** 0.5  # the legend's dots are large whatever the image's are
        chart.legend(title="label", loc="outside right upper", markerscale=scale, frameon=False)
    axes.set(title=f"{plain(title)}\n{how}, {what}", xticks=[], yticks=[])
    return save(chart, file)


def _name(label: int, names: Sequence[str]) -> str:
    if label < 0:
        return "unknown"
    return plain(names[label]) if label < len(names) else str(label)
