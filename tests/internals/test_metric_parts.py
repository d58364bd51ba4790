"""Parts of torchmetrics: a metric goes on from its state."""

from __future__ import annotations

import torch
from torch import nn
from torchmetrics import CatMetric, MeanMetric, Metric, MetricCollection
from torchmetrics.classification import MulticlassPrecision, MulticlassRecall

from genlab.internals import metric_parts as parts


class Holder(nn.Module):
    """A sum, a list, a collection of two metrics of one state, and a metric that is not used."""

    def __init__(self) -> None:
        super().__init__()
        self.mean, self.rows, self.unused = MeanMetric(), CatMetric(), MeanMetric()
        both: dict[str, Metric | MetricCollection] = {
            "p": MulticlassPrecision(3),
            "r": MulticlassRecall(3),
        }
        self.both = MetricCollection(both, compute_groups=True)

    def see(self, k: int) -> None:
        values = torch.arange(6.0) / (k + 7)
        self.mean.update(values)
        self.rows.update(values)
        self.both.update((torch.arange(6) * k) % 3, torch.arange(6) % 3)

    def told(self) -> list[torch.Tensor]:
        return [self.mean.compute(), self.rows.compute(), *self.both.compute().values()]


def test_restore_goes_on_from_states() -> None:
    straight, resumed = Holder(), Holder()
    for k in range(4):
        straight.see(k)
        if k == 1:
            found = parts.states(straight)
    assert set(found) == {"mean", "rows", "both.p", "both.r"}
    parts.restore(resumed, found)
    for k in (2, 3):
        resumed.see(k)
    assert resumed.mean.update_count == 4
    assert not resumed.unused.update_called
    for ours, theirs in zip(resumed.told(), straight.told(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_state_without_another_update_is_computed_as_it_is() -> None:
    straight, resumed = Holder(), Holder()
    straight.see(1)
    assert set(parts.states(straight, [straight.mean])) == {"rows", "both.p", "both.r"}
    parts.restore(resumed, parts.states(straight) | {"gone": {"count": 1, "state": {}}})
    for ours, theirs in zip(resumed.told(), straight.told(), strict=True):
        assert torch.equal(ours, theirs)
    straight.see(2)  # what was kept is a copy
    assert not torch.equal(resumed.told()[0], straight.told()[0])


def test_a_metrics_memory_is_its_state_and_what_a_reset_goes_back_to() -> None:
    recall = MulticlassRecall(3)
    state: dict[str, torch.Tensor] = dict(recall.metric_state)  # type: ignore[arg-type]
    found = parts.memory(nn.ModuleList([recall]))
    assert len(found) == 2 * len(state)
    assert {id(t) for t in state.values()} <= {id(t) for t in found}
