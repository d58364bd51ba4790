"""Critics: networks from an image, and its class if any, to one unbounded score.

DCGAN: Radford, Metz, Chintala 2015, arXiv:1511.06434; residual: Gulrajani et al. 2017,
arXiv:1704.00028, appendix F; the class by projection: Miyato and Koyama 2018, arXiv:1802.05637;
spectral norm: Miyato, Kataoka, Koyama, Yoshida 2018, arXiv:1802.05957. Departures: kernels of 4
instead of 5; no norm by default; as many halvings as the side needs; of SNGAN's Glorot
initialisation only that of the class's directions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from genlab.internals import torch_parts
from genlab.networks.arguments import check_settings
from genlab.networks.autoencoders.image_coders import ClassMap, default_downsamplings
from genlab.networks.gan.generators import norm2d
from genlab.networks.layers import activation
from genlab.networks.norms import norm_behind
from genlab.networks.split_batch_norm import has_batch_norm

CRITICS = ("mlp", "dcgan", "resnet")
CONDITIONS = ("projection", "concat")
PER_IMAGE = ("penalty", "one_sided_penalty", "r1_r2")  # constraints
POOLS = ("mean", "sum")  # of all places
DENSE_NORMS = ("batch", "layer")
_activation = activation  # `_mlp` has an argument of that name


class Critic(nn.Module):
    """Network from images to features, and from them to the score, or to several.

    Args:
        body: (B, C, H, W) -> (B, width).
        width: F of the features.
        num_classes: K, 0 for none.
        class_map: adds the class to the image as one more channel; None adds the class's own
            direction to the score's (projection). The directions begin uniform up to
            sqrt(6 / (K + F)), as in the reference code (github.com/pfnet-research/sngan_projection,
            e84b1a5): steps of Adam hardly turn the normal ones of `nn.Embedding`.
        outputs: number of scores, N.
    """

    def __init__(
        self,
        body: nn.Module,
        width: int,
        num_classes: int = 0,
        class_map: ClassMap | None = None,
        outputs: int = 1,
    ) -> None:
        super().__init__()
        self.body, self.class_map = body, class_map
        self.width, self.outputs = width, outputs
        self.score = nn.Linear(width, outputs)
        projects = num_classes and class_map is None
        self.direction = nn.Embedding(num_classes, width) if projects else None
        if self.direction is not None:
            nn.init.xavier_uniform_(self.direction.weight)

    def features(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """(B, C, H, W), (B,) -> (B, F)."""
        if self.class_map is not None:
            assert label is not None
            image = self.class_map(image, label)
        return self.body(image)

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """Scores, (B, C, H, W), (B,) -> (B,), of several outputs (B, N).

        The label has no effect without classes.
        """
        h = self.features(image, label)
        score: Tensor = self.score(h)
        score = score[:, 0] if self.outputs == 1 else score
        if self.direction is not None:
            score = score + (self.direction(label) * h).sum(1)
        return score


def critic(
    name: str,
    channels: int,
    image_size: int,
    num_classes: int = 0,
    condition: str = "projection",
    outputs: int = 1,
    **kwargs: Any,
) -> Critic:
    """A critic by name.

    Args:
        name: ``mlp``, ``dcgan`` or ``resnet``.
        channels: C of the images.
        image_size: H = W; from 8 px but for ``mlp``.
        num_classes: K, 0 for none.
        condition: form of the class input: ``projection``, or ``concat``: one more channel.
        outputs: number of scores, N; more than 1 only without projection.
        **kwargs: ``hidden_dims``, ``activation``, ``norm`` of the MLP; ``width`` (of the largest
            map) and ``norm`` (``none``, ``layer``, ``instance``, ``batch``) of the others;
            ``pool`` of ``resnet``: the ``mean`` over places, or their ``sum``.

    Raises:
        ValueError: unknown name, condition or norm, or an image too small for convolutions.
    """
    if name not in CRITICS:
        raise ValueError(f"unknown critic {name!r}; choose from {', '.join(CRITICS)}")
    if num_classes and condition not in CONDITIONS:
        raise ValueError(f"unknown condition {condition!r}; choose from {', '.join(CONDITIONS)}")
    if name != "mlp" and image_size < 8:
        raise ValueError(
            f"critic {name!r} requires images of at least 8 px, got {image_size}; use mlp"
        )
    beside = bool(num_classes) and condition == "concat"
    bodies: dict[str, Any] = {"mlp": _mlp, "dcgan": _dcgan, "resnet": _resnet}
    check_settings(f"critic {name}", bodies[name], kwargs)
    body, width = bodies[name](channels + beside, image_size, **kwargs)
    class_map = ClassMap(num_classes, image_size) if beside else None
    return Critic(body, width, num_classes, class_map, outputs)


def normalises_over_the_batch(network: nn.Module) -> bool:
    """True if batch norm makes an output depend on the other images of the batch."""
    return has_batch_norm(network)


def spectrally_normalised(network: nn.Module) -> nn.Module:
    """The network with every matrix and kernel divided by its largest singular value, in place.

    The classes' directions of projection are one such matrix, as in the reference code
    (github.com/pfnet-research/sngan_projection): they share a scale, whatever a class's frequency.
    """
    for module in list(network.modules()):
        if isinstance(module, nn.Linear | nn.Conv2d | nn.Embedding):
            spectral_norm(module)
    return network


def constrain(network: nn.Module, constraint: str) -> None:
    """Give a critic the norms that its constraint wants, in place.

    Args:
        network: the critic.
        constraint: ``spectral_norm``, a penalty, or another that wants none.

    Raises:
        ValueError: batch norm under a penalty, which is per image.
    """
    if constraint in PER_IMAGE and normalises_over_the_batch(network):
        raise ValueError(
            f"constraint {constraint!r} is per image, and batch norm in the critic mixes them: "
            "critic_kwargs.norm must be none, layer or instance"
        )
    if constraint == "spectral_norm":
        spectrally_normalised(network)


@torch.no_grad()
def clip_weights(network: nn.Module, limit: float) -> None:
    """Bring every parameter into [-limit, limit], in place."""
    weights: list[Tensor] = list(network.parameters())
    torch_parts.foreach_clamp_(weights, -limit, limit)


def _mlp(
    channels: int,
    side: int,
    hidden_dims: Sequence[int] = (512, 512, 512),
    activation: str = "leaky_relu",
    norm: str | None = None,
) -> tuple[nn.Module, int]:
    if norm not in (None, "none", *DENSE_NORMS):
        raise ValueError(f"unknown norm {norm!r}; choose from none, {', '.join(DENSE_NORMS)}")
    layers: list[nn.Module] = [nn.Flatten()]
    for width, following in pairwise((channels * side**2, *hidden_dims)):
        layers += [nn.Linear(width, following), _activation(activation)]
        behind = norm_behind(None if norm == "none" else norm, following)
        layers[-1:-1] = [] if behind is None else [behind]
    return nn.Sequential(*layers), hidden_dims[-1]


def _dcgan(channels: int, side: int, width: int = 64, norm: str = "none") -> tuple[nn.Module, int]:
    """Convolutions of stride 2 down to 4 to 7 px; the first has no norm."""
    layers: list[nn.Module] = []
    norm2d(norm, width)  # a wrong name is said whatever the size
    halvings = default_downsamplings(side)
    if halvings < 2 and norm != "none":
        raise ValueError(f"norm {norm!r}: at {side} px dcgan is one convolution, and that has none")
    for level in range(halvings):
        following, side = width << level, side // 2
        layers += [nn.Conv2d(channels, following, 4, 2, 1)]
        layers += [norm2d(norm, following)] if level else []
        layers += [nn.LeakyReLU(0.2)]
        channels = following
    return nn.Sequential(*layers, nn.Flatten()), channels * side**2


class DownBlock(nn.Module):
    """Residual block, before it a ReLU and a norm, that may halve the map: (B, C, h, h) -> ..."""

    def __init__(self, channels: int, width: int, norm: str, halve: bool, first: bool) -> None:
        super().__init__()
        self.halve, self.first = halve, first
        self.norm1 = norm2d("none" if first else norm, channels)
        self.norm2 = norm2d(norm, width)
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.shortcut = nn.Conv2d(channels, width, 1) if halve or first else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, h) -> (B, width, h // 2, h // 2), or of the same side."""
        h = self.conv1(x if self.first else self.norm1(x).relu())
        h = self.conv2(self.norm2(h).relu())
        if self.halve:
            h, x = F.avg_pool2d(h, 2), F.avg_pool2d(x, 2)
        return h + self.shortcut(x)


class AllPlaces(nn.Module):
    """(B, C, H, W) -> (B, C), the ``mean`` or the ``sum`` over H and W."""

    def __init__(self, pool: str) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C)."""
        return x.sum((2, 3)) if self.pool == "sum" else x.mean((2, 3))


def _resnet(
    channels: int, side: int, width: int = 128, norm: str = "none", pool: str = "mean"
) -> tuple[nn.Module, int]:
    """Residual blocks of one width: halving down to at most 8 px, two more, all places together.

    Their ``mean``, as in WGAN-GP, or their ``sum``, as in SNGAN, whose weights cannot grow.
    """
    if pool not in POOLS:
        raise ValueError(f"unknown pool {pool!r}; choose from {', '.join(POOLS)}")
    halvings = max(0, math.ceil(math.log2(side / 8)))
    halve = [True] * halvings + [False] * 2
    blocks = [
        DownBlock(width if i else channels, width, norm, small, first=not i)
        for i, small in enumerate(halve)
    ]
    return nn.Sequential(*blocks, nn.ReLU(), AllPlaces(pool)), width
