"""One fault in each joint-embedding method lets its embeddings collapse, and the alarm rings.

Faults that a setting makes are in `test_collapse_alarm` and in the methods' own tests; here a term
of the loss is taken away, or the stop-gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch.nn.functional as F
from torch import Tensor

from genlab import losses
from genlab.callbacks.collapse_alarm import BEGUN
from genlab.methods.ijepa import IJEPA
from tests.callbacks.test_collapse_alarm import alarm_of

pytestmark = pytest.mark.filterwarnings("ignore:The number of training batches")

NO_NORM = ["model.head_norm=null"]  # batch norm in the heads would keep the embeddings' scale


def apart(z: Tensor, partner: Tensor) -> Tensor:
    """What is left of a contrastive loss without negatives: partners attract each other."""
    return -F.cosine_similarity(z, partner).mean()


# recipe, settings of both runs, the loss and what it is without its negatives
FAULTS: list[tuple[str, list[str], str, Callable[..., Tensor]]] = [
    ("simclr/digits", [], "nt_xent", lambda z1, z2, tau: apart(z1, z2)),
    ("moco/digits", [], "info_nce", lambda q, k, queue, tau: apart(q, k)),
    ("moco/digits_bank", [], "instance_nll", lambda z, bank, row, tau: apart(z, bank[row])),
    ("moco/digits", ["model.negatives=batch", "model.symmetric=false"], "batch_nce",
     lambda q, k, tau: apart(q, k)),
    ("moco_v3/digits", NO_NORM, "info_nce_in_batch", lambda q, k, tau: apart(q, k)),
    ("supcon/digits", [], "supervised_contrastive", lambda views, y, tau: apart(*views)),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("name", "words", "loss", "without"), FAULTS)
def test_without_negatives_a_contrastive_method_collapses(
    name: str,
    words: list[str],
    loss: str,
    without: Callable[..., Tensor],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not alarm_of(name, tmp_path / "with", *words).collapsed
    assert BEGUN not in capsys.readouterr().err
    monkeypatch.setattr(losses, loss, without)
    assert alarm_of(name, tmp_path / "without", *words).collapsed
    assert capsys.readouterr().err.count(BEGUN) == 1


@pytest.mark.slow
def test_without_a_stop_gradient_ijepa_collapses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Targets of the trained encoder itself, with a gradient: equal ones cost least."""
    words = ["trainer.max_epochs=12"]
    assert not alarm_of("ijepa/digits", tmp_path / "with", *words).collapsed
    assert BEGUN not in capsys.readouterr().err

    def taught(method: Any, image: Tensor) -> Tensor:
        return method.encoder.tokens(image).patches

    def distance(prediction: Tensor, tokens: Tensor) -> Tensor:
        return F.smooth_l1_loss(prediction, F.layer_norm(tokens, tokens.shape[-1:]))

    monkeypatch.setattr(IJEPA, "teach", taught)
    monkeypatch.setattr(losses, "token_distance", distance)
    assert alarm_of("ijepa/digits", tmp_path / "without", *words).collapsed
    assert "val/target_std" in capsys.readouterr().err
