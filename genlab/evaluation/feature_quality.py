"""Quality of a method's features on the test set, with settings chosen on validation data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from genlab import metrics
from genlab.contracts import HasFactors
from genlab.data.loader import batch_seed
from genlab.evaluation.disentanglement import disentanglement
from genlab.evaluation.embedding_ranks import embedding_ranks
from genlab.evaluation.places import AtStage
from genlab.evaluation.probes import few_shot, linear_probe
from genlab.metrics import Bank, geometry

PAIRS = 2_000  # test images whose two views are compared
MOST = 10_000  # test images whose distances are compared


def features_of(method: Any, data: Any, split: str) -> Bank | None:
    """The features of a split as evaluation sees it, on the CPU; None for an empty split.

    Raises:
        ValueError: features that are not finite.
    """
    loader = data.val_dataloader() if split == "val" else data.bank_dataloader(split)
    if not len(loader):
        return None
    batches = (data.to_device(raw, method.device) for raw in loader)
    bank = Bank(*(part.cpu() for part in metrics.collect(method, batches)))
    geometry.check_finite(bank.features, f"{type(method).__name__}: features of {split} images")
    return bank


@torch.no_grad()
def representation(
    method: Any,
    data: Any,
    k: int = 20,
    temperature: float = 0.07,
    shots: Sequence[int] | None = None,
    seed: int = 0,
    stage: int | None = None,
) -> tuple[dict[str, Any], Bank, Bank]:
    """kNN, linear probe, few-shot, and the geometry of the features and of embeddings.

    Args:
        method: method whose ``forward`` gives the features before any projector.
        data: a data module of genlab; its own augmentation gives the two views of ``alignment``,
            which is omitted where there is none.
        k: neighbours of the kNN, by cosine.
        temperature: temperature of their weights.
        shots: labels per class; None for those of 1, 5 and 10 that every class has.
        seed: seed of the draws.
        stage: stage of the method's encoder that gives the features instead, see
            `stages.stage_features`; None for those of ``forward``.

    Logs:
        test/stage (setting): stage of the encoder whose features are measured.
        test/knn_k, test/knn_temperature, test/knn_distance, test/knn_bank (setting): k, T,
            similarity and number of training images of test/knn_top1.
        test/class_alignment (squared distance, lower): mean ||x - y||^2 between features of length
            one of two images of a class; 0 to 4.
        test/alignment (squared distance, lower): mean ||x - y||^2 between features of length one of
            two augmented copies of an image; 0 to 4.
        test/uniformity (nats, lower): log mean exp(-2 ||x - y||^2) over pairs of images, features
            of length one: 0 when all are equal, towards -4 when spread evenly.
        test/effective_rank (directions, higher): directions that the features use: exp(-sum_i p_i
            log p_i), p_i the singular values' shares; 1 to feature_dim.
        test/feature_dim (numbers): width of the features.

    Returns:
        Metrics ``test/<name>``, the test features, and the training features. Metrics that need
        labels are omitted where training or test images have none.

    Raises:
        ValueError: k, temperature or shots out of range.
    """
    method.eval()
    if stage is not None:
        method = AtStage(method, stage)
    train, val, test = (features_of(method, data, split) for split in ("train", "val", "test"))
    if train is None or test is None:
        raise ValueError("evaluation requires training and test images")
    known, asked = train.labelled(), test.labelled()
    found: dict[str, Any] = {}
    if len(known.label.unique()) > 1 and len(asked.label):
        found |= _knn(known, asked, data.num_classes, k, temperature)
        found |= linear_probe(known, val.labelled() if val is not None else None, asked, seed)
        least = int(known.label.unique(return_counts=True)[1].min())
        usual = [n for n in (1, 5, 10) if n <= least]
        found |= few_shot(known, asked, usual if shots is None else shots, seed=seed)
        found["class_alignment"] = geometry.class_alignment(asked.features, asked.label)
    if (pair := _two_views(method, data, seed)) is not None:
        found["alignment"] = geometry.alignment(*pair)
    found["uniformity"] = geometry.uniformity(test.features[:MOST])
    found["effective_rank"] = geometry.effective_rank(test.features)
    found |= embedding_ranks(method, data)
    if isinstance(data, HasFactors):
        found |= disentanglement(train, val, test, data, seed)
    found["feature_dim"] = test.features.shape[1]
    if stage is not None:
        found["stage"] = stage
    return {f"test/{noun}": value for noun, value in found.items()}, test, train


def _knn(train: Bank, test: Bank, classes: int, k: int, temperature: float) -> dict[str, Any]:
    metric = metrics.KNN(classes, min(k, len(train.label)), temperature)
    metric.set_bank(train)
    metric.update(*test)
    found: dict[str, Any] = {noun: float(value) for noun, value in metric.compute().items()}
    settings = {"k": metric.k, "temperature": temperature, "distance": metric.distance}
    settings["bank"] = len(train.label)
    return found | {f"knn_{name}": value for name, value in settings.items()}


def _two_views(method: Any, data: Any, seed: int) -> tuple[Tensor, Tensor] | None:
    """Features of some test images under the data's augmentation, twice: 2 x (N, F)."""
    if not getattr(getattr(data, "finish", None), "augment", None):
        return None
    views: tuple[list[Tensor], list[Tensor]] = ([], [])
    for number, raw in enumerate(data.bank_dataloader("test")):
        for which, features in enumerate(views):
            batch = data.to_device({**raw, "seed": batch_seed(seed, which, number)}, method.device)
            features.append(method(batch["image"]).flatten(1).float().cpu())
        if sum(map(len, views[0])) >= PAIRS:
            break
    return torch.cat(views[0])[:PAIRS], torch.cat(views[1])[:PAIRS]
