"""Distances between samples and real images, in a network's features and in pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from genlab import metrics
from genlab.evaluation.judges import Seen
from genlab.metrics.frechet_infinity import PER_DIMENSION

SUBSETS = 100  # of KID


def of_features(fake: Seen, real: Seen, floor: Tensor, name: str) -> dict[str, float]:
    """Every distance in the features, each with its floor: that of other real images.

    KID's ``_sd`` is over subsets of samples and reference, see `metrics.kernel_distance`. FID at
    infinity takes part where there are enough samples for it; the Inception score, if the network
    classifies.

    Args:
        fake: samples' features, and logits where there are.
        real: those of the reference.
        floor: features of real images of the other split, as many as samples if there are (N, F).
        name: name of the features, for the keys of metrics.

    Logs:
        judge/fid_<features> (squared distance, lower): Frechet distance ||m - m'||^2 + tr(C + C' -
            2 (C C')^(1/2)) of samples and real images in the features.
        judge/fid_infinity_<features> (squared distance, lower): Frechet distance at infinitely many
            samples, by a line through subsets; the reference stays as it is. It takes at
            least 10 for each number of the features.
        judge/kid_<features> (1, lower): kernel distance, the squared MMD under (x.y / F + 1)^3,
            mean over subsets; 0 for one distribution.
        judge/kid_<features>_sd (1): standard deviation of KID over subsets.
        judge/sliced_wasserstein_<features> (squared distance, lower): mean over 1,000 directions of
            the squared W2 of the projected features.
        judge/precision_<features> (fraction, higher): share of samples within reach of a real
            image's third neighbour.
        judge/recall_<features> (fraction, higher): share of real images within reach of a sample's
            third neighbour.
        judge/density_<features> (1, higher): real images' balls of five neighbours around a sample,
            over five: 1 for one distribution.
        judge/coverage_<features> (fraction, higher): share of real images with a sample among their
            five neighbours' reach; 1 - 2^-5 for one distribution.
        judge/vendi_<features> (images): effective number of different samples, by the cosines of
            features from the real images' mean; rewards noise too, so compare with its floor.
        judge/inception_score_<features> (classes, higher): exp(mean KL(p(y|x) || p(y))) of the
            samples, mean over ten parts.
        judge/inception_score_<features>_sd (classes): standard deviation over the ten parts.
        judge/inception_score_<features>_real (classes, higher): the score of the real images.
        judge/fid_<features>_floor, judge/kid_<features>_floor (that of the metric, lower): the
            metric of as many real images of the other split: as perfect samples would have it.
        judge/fid_infinity_<features>_floor (squared distance, lower): the same at infinity.
        judge/sliced_wasserstein_<features>_floor (squared distance, lower): the same, sliced.
        judge/precision_<features>_floor, judge/recall_<features>_floor (fraction, higher): the same
            for precision and recall.
        judge/density_<features>_floor, judge/coverage_<features>_floor (1, higher): the same for
            density and coverage.
        judge/vendi_<features>_floor (images): the same for the effective number.
    """
    figures = _distances(fake.features, real.features, name)
    lowest = _distances(floor, real.features, name)
    figures |= {f"{key}_floor": value for key, value in lowest.items() if not key.endswith("_sd")}
    figures |= _score(fake, name)
    return figures | {f"{k}_real": v for k, v in _score(real, name).items() if "_sd" not in k}


def of_pixels(
    own: metrics.PixelStatistics, real: metrics.PixelStatistics, floor: metrics.PixelStatistics
) -> dict[str, float]:
    """Distances of levels and spectra, each with its floor, that of real images.

    Args:
        own: statistics of the samples.
        real: statistics of the reference.
        floor: statistics of the other split.

    Logs:
        judge/pixels_wasserstein (levels of 255, lower): W1 of the distributions of pixel values.
        judge/pixels_js (nats, lower): Jensen-Shannon divergence of those distributions.
        judge/spectrum_gap (dB, lower): root mean square over frequencies, but the mean, of the
            difference of mean radial power.
        judge/pixels_wasserstein_floor, judge/pixels_js_floor (that of the metric, lower): the
            metric of real images of the other split.
        judge/spectrum_gap_floor (dB, lower): the same for spectra.
    """
    lowest = metrics.pixel_distances(floor, real)
    floors = {f"{key}_floor": value for key, value in lowest.items()}
    return metrics.pixel_distances(own, real) | floors


def enough_for_infinity(dim: int) -> int:
    """Samples from which on FID at infinity can be measured in features of ``dim`` numbers."""
    return 2 * PER_DIMENSION * dim


def _distances(features: Tensor, real: Tensor, name: str) -> dict[str, float]:
    frechet = metrics.FrechetDistance(features.shape[1])
    for part, is_real in ((features, False), (real, True)):
        for rows in part.split(4096):
            frechet.update(rows, is_real)
    kernel = metrics.kernel_distance(features, real, SUBSETS)
    found = {
        f"fid_{name}": float(frechet.compute()),
        f"kid_{name}": kernel["kid"],
        f"kid_{name}_sd": kernel["kid_sd"],
        f"sliced_wasserstein_{name}": metrics.sliced_wasserstein(features, real),
        f"vendi_{name}": metrics.vendi_score(features, real.double().mean(0)),
    }
    if len(features) >= enough_for_infinity(features.shape[1]):
        found[f"fid_infinity_{name}"] = metrics.frechet_infinity(features, real).intercept
    overlap = metrics.manifold_overlap(features, real)
    return found | {f"{noun}_{name}": value for noun, value in overlap.items()}


def _score(seen: Seen, name: str) -> dict[str, float]:
    """The Inception score, if there are class probabilities."""
    if seen.logits is None:
        return {}
    metric = metrics.InceptionScore(seen.logits.shape[1])
    metric.update(seen.logits, torch.arange(len(seen.logits)))
    score, spread = (float(value) for value in metric.compute().values())
    return {f"inception_score_{name}": score, f"inception_score_{name}_sd": spread}
