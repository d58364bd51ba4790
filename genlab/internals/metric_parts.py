"""Private parts of torchmetrics: the state of a metric between two updates."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torchmetrics import Metric


def states(module: nn.Module, without: Collection[Metric] = ()) -> dict[str, dict[str, Any]]:
    """The state of every metric in a module that has been updated since its last reset.

    Args:
        module: module with metrics as submodules.
        without: metrics to leave out.
    """
    from torchmetrics import Metric, MetricCollection

    for part in module.modules():
        if isinstance(part, MetricCollection):
            part.values(copy_state=False)  # those of one group share the first one's state
    skipped = {id(metric) for metric in without}
    return {
        name: {"count": part.update_count, "state": _moved(part.metric_state, "cpu")}
        for name, part in module.named_modules()
        if isinstance(part, Metric) and part.update_called and id(part) not in skipped
    }


def memory(module: nn.Module) -> list[Tensor]:
    """Tensors of every metric in a module: its state, and the one that a reset goes back to."""
    from torch import Tensor
    from torchmetrics import Metric

    found: list[Any] = []
    for part in module.modules():
        if isinstance(part, Metric):
            found += [*(getattr(part, name) for name in part._defaults), *part._defaults.values()]
    return [one for one in found if isinstance(one, Tensor)]


def restore(module: nn.Module, found: dict[str, dict[str, Any]]) -> None:
    """Give the metrics of a module the `states` of another one."""
    from torchmetrics import Metric

    parts = dict(module.named_modules())
    for name, kept in found.items():
        metric = parts.get(name)
        if isinstance(metric, Metric) and kept["state"].keys() == metric.metric_state.keys():
            for key, value in _moved(kept["state"], metric.device).items():
                setattr(metric, key, value)
            metric._update_count, metric._computed = kept["count"], None


def _moved(value: Any, device: Any) -> Any:
    """A copy of nested tensors on a device."""
    from torch import Tensor

    if isinstance(value, Tensor):
        return value.detach().to(device, copy=True)
    if isinstance(value, dict):
        return {key: _moved(item, device) for key, item in value.items()}
    return [_moved(item, device) for item in value] if isinstance(value, list) else value
