"""Sample quality, measured in the feature space of a network trained on real images."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genlab import metrics
from genlab.contracts import DecodesNoise, Samples, number_of_classes
from genlab.data.sampling import evenly
from genlab.evaluation import distances, neighbours
from genlab.evaluation.by_class import by_class, code_controls
from genlab.evaluation.judges import Judge
from genlab.evaluation.path_length import path_length
from genlab.metrics.network_evaluations import evaluations_of

BATCH = 500  # samples drawn at a time
MOST = 60_000  # real images of a split that are looked at
OUTSIDE = 0.05  # how far a pixel may lie outside [0, 1] before it counts
OTHER = {"test": "train", "train": "test"}


class Judged(NamedTuple):
    """Results of `judge`."""

    figures: dict[str, Any]  # ``judge/<name>``, or ``judge/<name>_<features>``
    nearest: neighbours.Nearest  # samples and their nearest training images
    spectra: dict[str, Tensor]  # mean power by frequency of samples and of the real splits


@torch.no_grad()
def judge(
    method: Any,
    by: Judge,
    data: Any,
    samples: int = 10_000,
    reference: str = "test",
    seed: int = 0,
) -> Judged:
    """Metrics of a generator's samples against real images, in one feature space.

    Distances of the features and of the pixels, see `distances`: FID, KID, precision, recall and
    more, each with its floor, the same metric for as many real images of the other split;
    ``kid_subsets`` says what KID takes whole. The copies of training images, see `neighbours`. If
    the method samples by class and the network has those classes, the accuracy of the samples.

    Args:
        method: method with ``sample(n)`` in [0, 1], perhaps by ``label``; classes are as frequent
            as in the reference.
        by: feature extractor.
        data: data module of the real images, neither augmented nor binarised.
        samples: number of samples to draw.
        reference: split that samples are compared with; neither the generator nor, in genlab, the
            feature extractor was trained on ``test``.
        seed: seed of the draws.

    Logs:
        judge/worst_class_name (name): name of the class judge/worst_class.
        judge/features, judge/preprocessing (description): network, and treatment of images for it.
        judge/samples, judge/reference, judge/floor (images): numbers of samples, of real images
            and of those behind the floors.
        judge/seconds_per_1000 (s, lower): time of the clock for a thousand samples.
        judge/path_length_<features> (squared distance, lower): perceptual path length, see
            `path_length`: mean squared change of the features along arcs between latents, over the
            square of the step; of generators without an encoder, and of smooth features.
        judge/nfe (evaluations, lower): network evaluations of a sample, for methods that solve an
            equation.
        judge/fid_infinity_absent (description): reason why FID at infinity is absent, if it is.
        judge/kid_subsets, judge/nearest (description): images behind KID and the nearest images.
        judge/network_<fact> (description): a fact of the network's weights, such as its file and
            checksum.

    Raises:
        ValueError: a method without samples, an unknown reference, images outside [0, 1] or of
            another shape than the data's, or too few of them.
    """
    able = isinstance(method, Samples)
    if not able:
        raise ValueError(f"{type(method).__name__} does not sample; there is nothing to evaluate")
    if samples < 10:
        raise ValueError(f"samples {samples} must be at least 10")
    if reference not in OTHER:
        raise ValueError(f"unknown reference {reference!r}; choose from {', '.join(OTHER)}")
    method.eval()
    by = by.by_name(getattr(data, "classes", ()))
    pixels = {name: metrics.PixelStatistics() for name in ("samples", *OTHER)}
    real = {
        split: by.look(pixels[split].over(_real(data, split, method.device))) for split in OTHER
    }
    start = time.perf_counter()
    drawn = list(_draws(method, data, samples, real[reference].label, seed))
    seconds = (time.perf_counter() - start) * 1000 / samples
    fake, spare = by.look(pixels["samples"].over(drawn)), real[OTHER[reference]]
    rows = torch.arange(len(spare.label))
    floor = spare.features[evenly(rows, spare.label, samples)]
    named: dict[str, Any] = distances.of_features(fake, real[reference], floor, by.name)
    own, aim, other = (pixels[name] for name in ("samples", reference, OTHER[reference]))
    named |= distances.of_pixels(own, aim, other)
    memory, distance, nearest = neighbours.nearest_training(
        fake.features, real["train"].features, real["test"].features, by.name
    )
    named |= memory | {"seconds_per_1000": seconds}
    if isinstance(method, DecodesNoise) and by.size is not None:
        named[f"path_length_{by.name}"] = _path_length(method, by, seed)
    if nfe := evaluations_of(method):
        named["nfe"] = nfe
    if by.classes and by.classes == number_of_classes(method):
        named |= by_class(fake, real["test"]) | code_controls(method, by, fake.label)
        if "worst_class" in named and by.names:
            named["worst_class_name"] = by.names[int(named["worst_class"])]
    facts = {key: value for key, value in by.identity.items() if key != "metrics"}
    facts |= {k.replace("/", "_"): v for k, v in by.identity.get("metrics", {}).items()}
    said = {f"network_{key}": value for key, value in facts.items()}
    said |= {
        "features": f"{by.name}, {by.dim} numbers: {by.source}",
        "preprocessing": by.preprocessing(data.channels, data.image_size),
        "samples": samples,
        "reference": f"{len(real[reference].label)} {reference} images",
        "floor": f"{len(floor)} {OTHER[reference]} images",
        "kid_subsets": _subsets(samples, len(real[reference].label)),
        "nearest": f"among {len(real['train'].label)} training images",
    }
    if samples < (least := distances.enough_for_infinity(by.dim)):
        said["fid_infinity_absent"] = f"{by.dim:,} numbers require {least:,} samples or more"
    images = torch.cat([image for image, _, _ in drawn])
    copies = neighbours.shown(images, distance, nearest, real["train"], data)
    figures = {f"judge/{noun}": value for noun, value in (said | named).items()}
    return Judged(figures, copies, {name: one.spectrum() for name, one in pixels.items()})


def _path_length(method: Any, by: Judge, seed: int) -> float:
    """Path length in the features; each way in one class, if there are any, all in turn."""
    classes = number_of_classes(method)

    def features(z: Tensor) -> Tensor:
        label = (torch.arange(len(z)) % classes).to(z.device) if classes else None
        return by.unrounded(method.decode(z, label) if classes else method.decode(z))

    return path_length(method.noise, features, seed=seed)


def _subsets(samples: int, reference: int) -> str:
    """What KID and its deviation are over: number and size of subsets, and what they leave out."""
    size = min(1000, samples, reference)
    sets = {"samples": samples, "reference": reference}
    whole = " and ".join(name for name, count in sets.items() if count == size)
    return f"{distances.SUBSETS} of {size}" + (f", {whole} whole in each" if whole else "")


def _real(data: Any, split: str, device: Any) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    for raw in data.bank_dataloader(split, most=MOST, binarized=False):
        batch = data.to_device(raw, device)
        yield _bytes(batch["image"], "the data's images"), batch["label"], batch["index"]


def _draws(
    method: Any, data: Any, samples: int, classes: Tensor, seed: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Samples in batches with the requested labels, drawn from ``classes`` if there are any."""
    torch.manual_seed(seed)
    count, known = number_of_classes(method), classes[classes >= 0]
    label = torch.full((samples,), -1)
    if count:
        pool = known if len(known) else torch.arange(count)
        label = pool[torch.randperm(len(pool))].repeat(-(-samples // len(pool)))[:samples]
    shape = (data.channels, data.image_size, data.image_size)
    for rows in torch.arange(samples).split(BATCH):
        options = {"label": label[rows]} if count else {}
        image = method.sample(len(rows), **options)
        if image.shape[1:] != shape:
            raise ValueError(f"samples are {tuple(image.shape[1:])}, the data's images {shape}")
        yield _bytes(image, "samples").cpu(), label[rows], rows


def _bytes(image: Tensor, what: str) -> Tensor:
    """Images as bytes, as in a file: (B, C, H, W) in [0, 1] -> bytes.

    Raises:
        ValueError: values outside [0, 1].
    """
    low, high = float(image.min()), float(image.max())
    outside = ((image < -OUTSIDE) | (image > 1 + OUTSIDE)).float().mean()
    if not image.isfinite().all() or outside > 0.01:
        raise ValueError(f"{what} must lie in [0, 1], they go from {low:.3g} to {high:.3g}")
    return image.clamp(0, 1).mul(255).round().byte()
