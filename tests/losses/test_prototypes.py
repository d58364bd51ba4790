"""Swapped prediction: the reference's values, the global batch, half precision."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from genlab import losses
from genlab.networks.clusters import spherical_kmeans
from tests.conftest import TwoRanks
from tests.losses.golden_embeddings import x


def slow(z: list[Tensor], prototypes: Tensor, coded: list[int]) -> float:
    """Image by image and pair by pair, after the paper's equations 2, 3 and 6."""
    total, count = 0.0, 0
    scores = [F.normalize(one, dim=1) @ prototypes.T for one in z]
    for i in coded:
        q = (scores[i] / 0.05).exp()
        for _ in range(3):
            q = q / q.sum(0, keepdim=True)
            q = q / q.sum(1, keepdim=True)
        for v in range(len(z)):
            for b in range(len(q)) if v != i else ():
                p = (scores[v][b] / 0.1).exp()
                total -= float((q[b] * (p / p.sum()).log()).sum())
                count += 1
    return total / count


def found(views: int, earlier: bool = False) -> tuple[float, float, float]:
    """Loss of views 0, 1, ..., codes of the first two, and the norms of its gradients."""
    prototypes = F.normalize(x(2, 6, 16), dim=1).requires_grad_()
    z = [x(k, 8, 16).requires_grad_() for k in range(views)]
    scores = [losses.prototype_scores(one, prototypes) for one in z]
    rows = [s.detach() for s in scores]
    if earlier:
        queues = [losses.prototype_scores(x(s, 4, 16), prototypes).detach() for s in (6, 7)]
        rows = [torch.cat(both) for both in zip(queues, rows, strict=False)]
    codes = {i: losses.sinkhorn(rows[i])[-8:] for i in (0, 1)}
    loss = losses.swapped_prediction(scores, codes)
    loss.backward()
    slope = torch.cat([one.grad for one in z if one.grad is not None]).norm()
    assert prototypes.grad is not None
    return float(loss.detach()), float(slope), float(prototypes.grad.norm())


def test_values_of_the_reference() -> None:
    """SW1."""
    pair = (4.716783674542, 0.949968200057, 1.933268456495)
    assert found(2) == pytest.approx(pair, abs=1e-9)
    three = (4.742910322620, 0.538437388359, 2.054398684267)
    assert found(3) == pytest.approx(three, abs=1e-9)
    assert found(2, earlier=True)[:2] == pytest.approx((4.708645002644, 0.964014481638), abs=1e-9)


def test_a_slow_reference_agrees() -> None:
    prototypes = F.normalize(x(2, 6, 16), dim=1)
    for views in (2, 3):
        slowly = slow([x(k, 8, 16) for k in range(views)], prototypes, [0, 1])
        assert slowly == pytest.approx(found(views)[0], abs=1e-9)


def test_embeddings_that_are_alike_cost_the_log_of_the_prototypes() -> None:
    """Of one point all assignments are uniform; predictions that are cost log K at least."""
    alike = torch.ones(8, 16).double()
    scores = [losses.prototype_scores(alike, torch.zeros(6, 16).double())] * 2
    codes = {i: losses.sinkhorn(s) for i, s in enumerate(scores)}
    loss = losses.swapped_prediction(scores, codes)
    assert float(loss) == pytest.approx(math.log(6), abs=1e-12)


def test_codes_are_constants() -> None:
    scores = [x(k, 8, 6).requires_grad_() for k in (0, 1)]
    codes = {0: x(2, 8, 6).softmax(1).requires_grad_()}
    losses.swapped_prediction(scores, codes).backward()
    assert codes[0].grad is None
    assert scores[0].grad is None  # its own view predicts the others' codes alone
    assert scores[1].grad is not None


def test_two_ranks_are_one_process_and_ranks_alone_are_another(two_ranks: TwoRanks) -> None:
    """SW5: assignments of each rank alone cost 3.3173 (lightly's default)."""
    one, _ = two_ranks.results("tests.losses.programs_prototypes:swapped")
    assert float(one["loss"]) == pytest.approx(3.3399649395, abs=1e-9)
    assert float(one["grad"].norm()) == pytest.approx(1.0246292560, abs=1e-9)
    two_ranks.assert_same("tests.losses.programs_prototypes:swapped", atol=1e-9)
    prototypes, alone = F.normalize(x(2, 6, 16), dim=1), 0.0
    for rows in (slice(8), slice(8, 16)):
        scores = [losses.prototype_scores(x(s, 16, 16)[rows], prototypes) for s in (0, 1)]
        codes = {i: losses.sinkhorn(s) for i, s in enumerate(scores)}
        alone += float(losses.swapped_prediction(scores, codes)) / 2
    assert alone == pytest.approx(3.3173, abs=1e-4)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_full(kind: torch.dtype) -> None:
    z, prototypes = [x(k, 8, 16).to(kind) for k in (0, 1)], F.normalize(x(2, 6, 16), dim=1).float()
    with torch.autocast("cpu", dtype=kind):
        scores = [losses.prototype_scores(one, prototypes) for one in z]
        codes = {i: losses.sinkhorn(s) for i, s in enumerate(scores)}
        loss = losses.swapped_prediction(scores, codes)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(4.7168, abs=1e-2)


def test_what_cannot_be_compared_is_refused() -> None:
    scores = [x(0, 4, 3), x(1, 4, 3)]
    with pytest.raises(ValueError, match="temperature 0 must be above 0"):
        losses.swapped_prediction(scores, {0: scores[0]}, 0)
    for few, codes in ((scores[:1], {0: scores[0]}), (scores, {})):
        with pytest.raises(ValueError, match="too few"):
            losses.swapped_prediction(few, codes)


def clustered(labels: Tensor) -> tuple[Tensor, list[Tensor]]:
    """DeepCluster's loss of two views of eight images in two clusterings, and the raw views."""
    z, centroids = [x(s, 8, 8).requires_grad_() for s in (0, 1)], []
    for s, count in ((0, 5), (1, 4)):
        rows = F.normalize(x(s, 40, 8), dim=1)
        centroids.append(spherical_kmeans(rows, rows[:count], 10)[0])
    return losses.cluster_nll(torch.cat(z), centroids, labels.repeat(1, 2)), z


def test_loss_of_clusters() -> None:
    """DC2."""
    found = []
    for s, count in ((0, 5), (1, 4)):
        rows = F.normalize(x(s, 40, 8), dim=1)
        found.append(spherical_kmeans(rows, rows[:count], 10)[1][:8])
    labels = torch.stack(found)
    loss, z = clustered(labels)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0.758188266521, abs=1e-9)
    slope = torch.cat([one.grad for one in z if one.grad is not None]).norm()
    assert float(slope) == pytest.approx(1.122509061974, abs=1e-9)
    some = labels.clone()
    some[:, 4:] = -100
    half, (z1, _) = clustered(some)
    half.backward()
    assert z1.grad is not None
    assert float(z1.grad[4:].abs().sum()) == 0


def test_images_without_a_cluster_cost_nothing_and_are_finite() -> None:
    """DC3: a mean over none is NaN (solo-learn's whole first epoch)."""
    loss, (z1, _) = clustered(torch.full((2, 8), -100))
    loss.backward()
    assert float(loss.detach()) == 0
    assert z1.grad is not None
    assert float(z1.grad.abs().sum()) == 0
