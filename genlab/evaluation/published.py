"""Networks of published distances, by name: Inception and DINOv2, with the files of their weights.

A file lies in the folder that GENLAB_WEIGHTS names or in torch.hub's cache, or it is fetched.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from genlab.checkpoints.foreign.fetching import fetch
from genlab.errors import CheckpointError
from genlab.evaluation import dinov2, inception


class Published(NamedTuple):
    """A network that published distances are measured in."""

    title: str
    url: str  # of its weights
    network: Callable[[dict[str, Tensor]], nn.Module]  # bytes -> features, and logits or None
    dim: int
    classes: int
    resizing: str

    @property
    def file(self) -> str:
        """Name of the weights' file."""
        return self.url.rpartition("/")[2]


NETWORKS = {
    "inception": Published(
        "Inception",
        "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
        "weights-inception-2015-12-05-6726825d.pth",
        inception.Inception,
        inception.DIM,
        inception.CLASSES,
        "299 px as TensorFlow 1 does, bilinear, not antialiased",
    ),
    "dinov2": Published(
        "DINOv2 ViT-L/14",
        "https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_pretrain.pth",
        dinov2.DINOv2,
        dinov2.DIM,
        0,
        "224 px by PIL, bicubic, antialiased",
    ),
}


def weights_of(name: str) -> Path:
    """The file of a network's weights, on this machine or fetched.

    Raises:
        ValueError: it is neither here nor can it be fetched; the message says where it belongs.
    """
    known = NETWORKS[name]
    file = Path(os.environ.get("GENLAB_WEIGHTS") or ".") / known.file
    try:
        return file if file.is_file() else fetch(known.url).file
    except CheckpointError:
        hub = Path(torch.hub.get_dir()) / "checkpoints"
        raise ValueError(
            f"{known.title}'s weights are not on this machine: fetch {known.url}\n"
            f"into {hub} or the folder that GENLAB_WEIGHTS names; "
            "or take a run's features: --judge classifier/mnist_lenet"
        ) from None
