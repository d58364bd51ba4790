"""Weighted kNN against a slow reading of its definition, its ties, and one process against two."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from genlab.metrics import KNN, Bank, knn, knn_scores, merge
from tests.conftest import TwoRanks


def a_bank(n: int = 50, classes: int = 4, width: int = 5) -> Bank:
    label = torch.arange(n) % classes
    return Bank(torch.randn(n, width) + F.one_hot(label, width), label, torch.arange(n))


def slow_scores(query: Tensor, bank: Bank, classes: int, k: int, t: float, kind: str) -> Tensor:
    """The definition, one query and one neighbour at a time."""
    unit = float(bank.features.square().sum(1).mean())
    scores = torch.zeros(len(query), classes, dtype=torch.float64)
    for i, q in enumerate(query):
        if kind == "cosine":
            near = [float(F.cosine_similarity(q, b, dim=0)) for b in bank.features]
        else:
            near = [-float((q - b).square().sum()) / unit / 2 for b in bank.features]
        best = sorted(range(len(near)), key=lambda j: -near[j])[:k]
        for j in best:
            scores[i, bank.label[j]] += math.exp((near[j] - near[best[0]]) / t)
    return scores / scores.sum(1, keepdim=True)


@pytest.mark.parametrize("kind", ["cosine", "euclidean"])
@pytest.mark.parametrize(("k", "t"), [(1, 0.07), (7, 0.07), (7, 1.0), (50, 0.5)])
def test_equals_the_definition(kind: str, k: int, t: float) -> None:
    bank, query = a_bank(), torch.randn(9, 5)
    found = knn_scores(query, bank, 4, k, t, kind)  # type: ignore[arg-type]
    expected = slow_scores(query, bank, 4, k, t, kind)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_blocks_do_not_change_the_votes(monkeypatch: pytest.MonkeyPatch) -> None:
    bank, query = a_bank(), torch.randn(40, 5)
    whole = knn_scores(query, bank, 4)
    monkeypatch.setattr(knn, "BLOCK", 3 * 50)
    torch.testing.assert_close(knn_scores(query, bank, 4), whole, atol=1e-4, rtol=0)


def test_on_unit_length_both_distances_vote_alike() -> None:
    bank, query = a_bank(), F.normalize(torch.randn(20, 5))
    bank = bank._replace(features=F.normalize(bank.features))
    cosine, euclidean = (knn_scores(query, bank, 4, distance=d) for d in ("cosine", "euclidean"))
    torch.testing.assert_close(cosine, euclidean, atol=1e-3, rtol=0)


def test_cosine_ignores_lengths_and_euclidean_does_not() -> None:
    bank, query = a_bank(), torch.randn(20, 5)
    stretched = bank._replace(features=bank.features * torch.rand(50, 1).add(0.1))
    torch.testing.assert_close(
        knn_scores(query, stretched, 4), knn_scores(query, bank, 4), atol=1e-3, rtol=0
    )
    euclidean = knn_scores(query, bank, 4, distance="euclidean")
    assert not torch.allclose(knn_scores(query, stretched, 4, distance="euclidean"), euclidean)


def test_temperature_weighs_the_nearest() -> None:
    """One near neighbour of class 0 against two farther ones of class 1."""
    features = torch.tensor([[1.0, 0.0], [0.9, 0.4], [0.9, -0.4]])
    bank = Bank(features, torch.tensor([0, 1, 1]), torch.arange(3))
    query = torch.tensor([[1.0, 0.0]])
    assert knn_scores(query, bank, 2, k=3, temperature=0.01).argmax() == 0
    assert knn_scores(query, bank, 2, k=3, temperature=10.0).argmax() == 1


def test_among_equals_the_first_in_the_bank_counts() -> None:
    bank = Bank(torch.ones(6, 3), torch.tensor([2, 0, 1, 0, 1, 1]), torch.arange(6))
    assert knn_scores(torch.ones(1, 3), bank, 3, k=1).argmax() == 2
    assert knn_scores(torch.ones(1, 3), bank, 3, k=3).tolist() == [[1 / 3] * 3]
    label = torch.cat([torch.full((40,), 2), torch.zeros(460).long()])  # far more than candidates
    bank = Bank(torch.ones(500, 3), label, torch.arange(500))
    assert knn_scores(torch.ones(4, 3), bank, 3, k=20)[:, 2].tolist() == [1.0] * 4


def test_accuracy_agrees_with_scikit_learn() -> None:
    from sklearn.neighbors import KNeighborsClassifier

    bank, query = a_bank(400), a_bank(100)
    unit = float(bank.features.square().sum(1).mean())
    other = KNeighborsClassifier(5, weights=lambda d: np.exp(-(d**2) / 2 / unit / 0.5))
    expected = other.fit(bank.features, bank.label).predict(query.features)
    metric = KNN(4, k=5, temperature=0.5, distance="euclidean")
    metric.set_bank(bank)
    metric.update(*query)
    share = np.mean(expected == query.label.numpy())
    assert float(metric.compute()["knn_top1"]) == pytest.approx(float(share))


def test_padding_counts_once_and_unknown_labels_not_at_all() -> None:
    bank = Bank(torch.eye(3), torch.arange(3), torch.arange(3))
    metric = KNN(3, k=1)
    metric.set_bank(merge(*(torch.cat([part, part[:2]]) for part in bank)))
    assert metric.bank is not None
    assert len(metric.bank.label) == 3
    metric.update(torch.eye(3), torch.tensor([0, 2, -1]), torch.tensor([5, 6, 7]))
    metric.update(torch.eye(3)[:1], torch.tensor([0]), torch.tensor([5]))
    assert metric.compute()["knn_top1"] == 0.5
    metric.reset()
    metric.update(torch.eye(3), torch.arange(3), torch.arange(3))  # the bank is still there
    assert metric.compute()["knn_top1"] == 1


def test_top5_only_with_more_than_five_classes() -> None:
    bank = Bank(torch.eye(8), torch.arange(8), torch.arange(8))
    metric = KNN(8, k=8, temperature=1.0)
    metric.set_bank(bank)
    metric.update(torch.eye(8), (torch.arange(8) + 1) % 8, torch.arange(8))
    found = metric.compute()
    assert found["knn_top1"] == 0
    assert found["knn_top5"] > 0.4
    assert KNN(5).num_classes == 5


def test_more_neighbours_than_images_is_said() -> None:
    metric = KNN(4, k=60)
    with pytest.warns(UserWarning, match="only the bank's 50 rows"):
        metric.set_bank(a_bank())


@pytest.mark.parametrize("wrong", [{"k": 0}, {"temperature": 0.0}, {"distance": "manhattan"}])
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        KNN(3, **wrong)  # type: ignore[arg-type]


def test_no_bank_and_no_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="no bank"):
        KNN(3).scores(torch.ones(1, 2))
    with pytest.raises(ValueError, match="labelled images"):
        KNN(3).set_bank(Bank(torch.ones(1, 2), torch.tensor([-1]), torch.zeros(1)))


@pytest.mark.ddp
@pytest.mark.parametrize("program", ["gather", "gather_none"])
def test_rows_of_ranks_of_unequal_size_are_gathered(two_ranks: TwoRanks, program: str) -> None:
    two_ranks.assert_same(f"tests.metrics.programs_knn:{program}", atol=0)


@pytest.mark.ddp
def test_two_ranks_give_the_figures_of_one_process(two_ranks: TwoRanks) -> None:
    """Odd sizes, padded shards, ties between labels: equal to the last bit."""
    two_ranks.assert_same("tests.metrics.programs_knn:knn", atol=0)
