"""Sample quality, measured in the feature space of a network trained on real images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from genlab import metrics
from genlab.contracts import Samples, number_of_classes
from genlab.data.sampling import evenly
from genlab.evaluation import neighbours
from genlab.evaluation.by_class import by_class, code_controls
from genlab.evaluation.judges import Judge, Seen

BATCH = 500  # samples drawn at a time
MOST = 60_000  # real images of a split that are looked at
SUBSETS = 100  # of KID
OUTSIDE = 0.05  # how far a pixel may lie outside [0, 1] before it counts
OTHER = {"test": "train", "train": "test"}


@torch.no_grad()
def judge(
    method: Any,
    by: Judge,
    data: Any,
    samples: int = 10_000,
    reference: str = "test",
    seed: int = 0,
) -> tuple[dict[str, Any], Tensor]:
    """Metrics of a generator's samples against real images, in one feature space.

    FID, KID, precision, recall, density and coverage, each with its floor, the same metric for as
    many real images of the other split. KID's ``_sd`` is over subsets of samples and reference,
    see `metrics.kernel_distance`; ``kid_subsets`` says what is taken whole. The Inception score, if
    the network classifies. The share of samples that copy training images. If the method samples by
    class and the network has those classes, the accuracy of the samples.

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
        judge/fid_<features> (squared distance, lower): Frechet distance ||m - m'||^2 + tr(C + C' -
            2 (C C')^(1/2)) of samples and real images in the features.
        judge/kid_<features> (1, lower): kernel distance, the squared MMD under (x.y / F + 1)^3,
            mean over subsets; 0 for one distribution.
        judge/kid_<features>_sd (1): standard deviation of KID over subsets.
        judge/precision_<features> (fraction, higher): share of samples within reach of a real
            image's third neighbour.
        judge/recall_<features> (fraction, higher): share of real images within reach of a sample's
            third neighbour.
        judge/density_<features> (1, higher): real images' balls of five neighbours around a sample,
            over five: 1 for one distribution.
        judge/coverage_<features> (fraction, higher): share of real images with a sample among their
            five neighbours' reach; 1 - 2^-5 for one distribution.
        judge/inception_score_<features> (classes, higher): exp(mean KL(p(y|x) || p(y))) of the
            samples, mean over ten parts.
        judge/inception_score_<features>_sd (classes): standard deviation over the ten parts.
        judge/inception_score_<features>_real (classes, higher): the score of the real images.
        judge/fid_<features>_floor, judge/kid_<features>_floor (that of the metric, lower): the
            metric of as many real images of the other split: as perfect samples would have it.
        judge/precision_<features>_floor, judge/recall_<features>_floor (fraction, higher): the same
            for precision and recall.
        judge/density_<features>_floor, judge/coverage_<features>_floor (1, higher): the same for
            density and coverage.
        judge/worst_class_name (name): name of the class judge/worst_class.
        judge/features, judge/preprocessing (description): network, and treatment of images for it.
        judge/samples, judge/reference, judge/floor (images): numbers of samples, of real images
            and of those behind the floors.
        judge/kid_subsets, judge/nearest (description): images behind KID and the nearest images.
        judge/network_<fact> (description): a fact of the network's weights, such as its file and
            checksum.

    Returns:
        Metrics ``judge/<name>``, or ``judge/<name>_<features>`` if they depend on the feature
        extractor; and samples next to their nearest training images, see `neighbours.picture`.

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
    real = {split: by.look(_real(data, split, method.device)) for split in OTHER}
    drawn = list(_draws(method, data, samples, real[reference].label, seed))
    fake, spare = by.look(drawn), real[OTHER[reference]]
    rows = torch.arange(len(spare.label))
    floor = spare.features[evenly(rows, spare.label, samples)]
    named: dict[str, Any] = _compare(fake, real[reference], floor, by.name)
    memory, distance, nearest = neighbours.nearest_training(
        fake.features, real["train"].features, real["test"].features, by.name
    )
    named |= memory
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
    images = torch.cat([image for image, _, _ in drawn])
    picture = neighbours.picture(images, distance, nearest, real["train"], data)
    return {f"judge/{noun}": value for noun, value in (said | named).items()}, picture


def _subsets(samples: int, reference: int) -> str:
    """What KID and its deviation are over: number and size of subsets, and what they leave out."""
    size = min(1000, samples, reference)
    sets = {"samples": samples, "reference": reference}
    whole = " and ".join(name for name, count in sets.items() if count == size)
    return f"{SUBSETS} of {size}" + (f", {whole} whole in each" if whole else "")


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


def _compare(fake: Seen, real: Seen, floor: Tensor, name: str) -> dict[str, float]:
    figures = _distances(fake.features, real.features, name)
    lowest = _distances(floor, real.features, name)
    figures |= {f"{key}_floor": value for key, value in lowest.items() if not key.endswith("_sd")}
    figures |= _score(fake, name)
    return figures | {f"{k}_real": v for k, v in _score(real, name).items() if "_sd" not in k}


def _distances(features: Tensor, real: Tensor, name: str) -> dict[str, float]:
    frechet = metrics.FrechetDistance(features.shape[1])
    for part, is_real in ((features, False), (real, True)):
        for rows in part.split(4096):
            frechet.update(rows, is_real)
    kernel = metrics.kernel_distance(features, real, SUBSETS)
    overlap = metrics.manifold_overlap(features, real)
    return {
        f"fid_{name}": float(frechet.compute()),
        f"kid_{name}": kernel["kid"],
        f"kid_{name}_sd": kernel["kid_sd"],
    } | {f"{noun}_{name}": value for noun, value in overlap.items()}


def _score(seen: Seen, name: str) -> dict[str, float]:
    """The Inception score, if there are class probabilities."""
    if seen.logits is None:
        return {}
    metric = metrics.InceptionScore(seen.logits.shape[1])
    metric.update(seen.logits, torch.arange(len(seen.logits)))
    score, spread = (float(value) for value in metric.compute().values())
    return {f"inception_score_{name}": score, f"inception_score_{name}_sd": spread}
