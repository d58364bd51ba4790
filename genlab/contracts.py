"""Contracts between the rooms of genlab: the content of a batch, the abilities of methods and data.

A method can do what it has a verb for; no base class is needed. Ask with ``isinstance``:
``isinstance(method, Samples)``. The members of a protocol are verbs and plain attributes, never
modules or buffers, which ``isinstance`` does not see from Python 3.12 on.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypedDict, runtime_checkable

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Batch(TypedDict, total=False):
    """A batch on its way from data to method; nothing knows both but through it."""

    image: (
        Tensor  # (B, C, H, W) float in [0, 1], uint8 as the loader gives it; vectors (B, D, 1, 1)
    )
    views: list[Tensor]  # of the images, each (B, C, h, w)
    label: Tensor  # (B,) int64, -1 where unknown
    index: Tensor  # (B,) int64, position in the data set
    seed: int  # of the random views, in training
    labeled: Batch  # of semi-supervised data, with `unlabeled`
    unlabeled: Batch
    probe: dict[str, Tensor]  # labelled images under CTAugment's operations


class Episodes(NamedTuple):
    """Trials of one-shot classification: W images to learn from, Q to classify, in each of E."""

    support: Tensor  # (E, W) int64, ``index`` of the images to learn from, one a class
    query: Tensor  # (E, Q) int64, ``index`` of those to classify
    answer: Tensor  # (E, Q) int64, place of their class in ``support``, 0 to W - 1
    learn_from: str  # split that ``support`` counts in
    classify: str  # split that ``query`` counts in


@runtime_checkable
class Samples(Protocol):
    """A method that draws images."""

    def sample(self, n: int, **options: Any) -> Tensor:
        """New images (n, C, H, W) in [0, 1]; ``label`` (n,) and ``temperature`` where it can."""


@runtime_checkable
class SamplesCodes(Protocol):
    """A method that draws codes and decodes them."""

    def sample_codes(self, n: int, label: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """New grids of codes: (n, h, w)."""

    def decode(self, codes: Tensor) -> Tensor:
        """The images of codes: (n, h, w) -> (n, C, H, W)."""


@runtime_checkable
class Reconstructs(Protocol):
    """A method that sends images through its latents and back."""

    def reconstruct(self, image: Tensor, **options: Any) -> Tensor:
        """The images' likenesses: (B, C, H, W) -> (B, C, H, W); with ``label`` where it can."""


@runtime_checkable
class HasLatents(Protocol):
    """A method whose images have maps of real numbers as latents."""

    def latents(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D, h, w)."""

    def image_of(self, latents: Tensor) -> Tensor:
        """(B, D, h, w) -> (B, C, H, W) in [0, 1]."""


@runtime_checkable
class Interpolates(Protocol):
    """A method that goes from image to image through its latents."""

    def interpolate(self, start: Tensor, end: Tensor, steps: int, **options: Any) -> Tensor:
        """Paths: 2 x (B, C, H, W) -> (B, steps, C, H, W)."""


@runtime_checkable
class DecodesNoise(Protocol):
    """A generator without an encoder."""

    def noise(self, n: int) -> Tensor:
        """Draws of the latents: (n, D)."""

    def decode(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """The images of latents: (n, D) -> (n, C, H, W)."""


@runtime_checkable
class SwapsStyles(Protocol):
    """A method that shows an image's style in every class."""

    def swap_styles(self, image: Tensor, label: Tensor) -> Tensor:
        """(B, C, H, W), (B,) -> (B, K, C, H, W)."""


@runtime_checkable
class HasDensity(Protocol):
    """A method that knows a density of images."""

    def log_prob(self, image: Tensor) -> Tensor:
        """In nats: (B, C, H, W) -> (B,)."""


@runtime_checkable
class Classifies(Protocol):
    """A method that tells classes apart."""

    def logits(self, image: Tensor) -> Tensor:
        """Scores of the classes: (B, C, H, W) -> (B, K)."""


@runtime_checkable
class HasProbabilities(Protocol):
    """A classifier with a map of its own from scores to probabilities."""

    def probabilities(self, logits: Tensor) -> Tensor:
        """(B, K) -> (B, K)."""


@runtime_checkable
class KnowsCollapse(Protocol):
    """A method that knows its loss where embeddings do not tell images apart.

    One whose healthy embeddings have few directions says how many in ``healthy_rank``.
    """

    def collapsed_loss(self, images: int) -> float:
        """For a global batch of that many images."""


@runtime_checkable
class HasLabels(Protocol):
    """A data module that knows which images have a label."""

    def labelled(self, split: Any) -> int:
        """Number of a split's images that have one."""


@runtime_checkable
class HasFileNames(Protocol):
    """A data module whose images are files."""

    def file_names(self, split: str, index: Sequence[int]) -> list[str]:
        """Names of the files of a split's images, by their ``index``."""


@runtime_checkable
class HasWholeImages(Protocol):
    """A data module that finds images by their positions."""

    def whole(self, index: Tensor, split: str = "train") -> Any:
        """Whole images of a split by their ``index``, for ``to_device``."""


@runtime_checkable
class HasEpisodes(Protocol):
    """A data module whose features are measured by one-shot classification."""

    def episodes(self, split: str) -> Episodes | None:
        """The trials of a split; None where it has none."""


@runtime_checkable
class HasFactors(Protocol):
    """A data module whose images come from known factors."""

    factor_names: Sequence[str]

    def factors(self, index: Tensor) -> Tensor:
        """Levels of the factors of images by their ``index``: (N,) -> (N, K) int64."""


@runtime_checkable
class TestsOnAll(Protocol):
    """A data module that can make every image a test image."""

    def test_on_all(self, known: Callable[[dict[str, Any]], bool]) -> None:
        """Do so, unless it has a test part or its splits are ``known``."""


@runtime_checkable
class Embeds(Protocol):
    """A method that compares embeddings of views."""

    def embed(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D)."""


@runtime_checkable
class ShowsTask(Protocol):
    """A method that can show the pretext task that it is trained on."""

    def task_pictures(self, batch: Batch) -> dict[str, Tensor]:
        """Title -> images (B, C, h, w) in [0, 1]: input, target and output of the task."""


@runtime_checkable
class DataModule(Protocol):
    """Data as methods, callbacks and evaluation see them: `data.Images`, or any class like it."""

    channels: int
    num_classes: int
    image_size: int
    batch_size: int  # images per optimiser step over all devices

    def val_dataloader(self) -> Any:
        """Validation images in order; empty where there are none."""

    def bank_dataloader(
        self,
        split: Any = "train",
        shard: bool = False,
        most: int | None = None,
        binarized: bool = True,
    ) -> Iterable[Any]:
        """Images of a split in order, never augmented."""

    def to_device(self, batch: Any, device: torch.device | str = "cpu") -> Any:
        """A batch of these loaders as a Trainer hands it to a method."""


@runtime_checkable
class ShowsVectors(Protocol):
    """Data whose vectors are images that are not square."""

    picture_shape: tuple[int, int, int]  # (C, H, W)


@runtime_checkable
class CountsClasses(Protocol):
    """Data that know how many training images of each class there are."""

    @property
    def class_counts(self) -> list[int]:
        """(K,)."""


@runtime_checkable
class FewLabelled(CountsClasses, Protocol):
    """Data of which some images are trained on without their labels."""

    @property
    def label_record(self) -> dict[str, Any] | None:
        """The labels in use; None for all."""

    @property
    def unlabeled_index(self) -> Tensor:
        """Positions of the images that are trained on without labels, (N,)."""


@runtime_checkable
class KnownDensity(Protocol):
    """Data drawn from a density that is known."""

    num_classes: int

    def log_prob(self, points: Tensor) -> Tensor:
        """In nats: (N, C, H, W) -> (N,)."""

    def component(self, points: Tensor) -> Tensor:
        """The part of the density that each point lies on, -1 for none: -> (N,)."""


def data_of(trainer: Any) -> object | None:
    """The data module of a Trainer; None if it was given loaders, or nothing."""
    return getattr(trainer, "datamodule", None)


def training_images(data: object | None) -> Any:
    """The ``index`` of the training images, (N,), as data know it; None if they do not."""
    splits = getattr(data, "splits", None)
    return splits()["train"] if callable(splits) else None


def takes(verb: Callable[..., Any], option: str) -> bool:
    """Tell whether a method's verb has an argument of this name."""
    return option in inspect.signature(verb).parameters


def number_of_classes(method: object) -> int:
    """Number of classes that a method can draw samples of; 0 if it draws without classes."""
    if not isinstance(method, Samples) or not takes(method.sample, "label"):
        return 0
    return int(getattr(method, "num_classes", 0) or 0)
