"""One-shot classification of a run's features: the figure, the callback and the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genlab.callbacks import OneShot
from genlab.data import Omniglot, OmniglotOneShot
from genlab.evaluation.one_shot import in_words, one_shot
from genlab.metrics import collect, one_shot_error
from genlab.testing.ranks import Ranks
from tests.callbacks.tiny import trainer
from tests.conftest import Here
from tests.fake_data import write_omniglot
from tests.methods.programs_ssl import small

OFF = (
    "track.wandb=off",
    "trainer.max_epochs=1",
    "data.batch_size=16",
    "trainer.val_check_interval=1.0",
)


class Features(nn.Module):
    """A method by its forward."""

    device = torch.device("cpu")

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, image: Tensor) -> Tensor:
        if self.kind == "same":
            return torch.ones(len(image), 3)
        return image if self.kind == "pixels" else image[:, :, ::14, ::14]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("data")
    write_omniglot(folder / "omniglot-py")
    return str(folder)


def test_features_beside_pixels_and_chance(root: str) -> None:
    data = OmniglotOneShot(root=root, centred=False)
    coarse, bank, train = one_shot(Features("coarse"), data)
    assert 0 < coarse["test/one_shot_error"] < 0.95
    assert coarse["test/one_shot_error_chance"] == 0.95
    assert coarse["test/one_shot_trials"] == 2
    assert train is not None
    assert len(bank.label) == len(train.label) == 40
    whole, _, _ = one_shot(Features("pixels"), data)
    assert whole["test/one_shot_error"] == coarse["test/one_shot_error_pixels"]
    assert whole["test/one_shot_error"] < coarse["test/one_shot_error"]
    same, _, _ = one_shot(Features("same"), data)
    assert same["test/one_shot_error"] == pytest.approx(0.95)


def test_background_alphabets_have_validation_trials_alone(root: str) -> None:
    found, _, train = one_shot(Features("coarse"), Omniglot(root=root, val_alphabets=1))
    names = ("error", "error_pixels", "error_chance", "error_std", "trials")
    assert set(found) == {f"val/one_shot_{name}" for name in names}
    assert found["val/one_shot_trials"] == 20
    assert train is None
    with pytest.raises(ValueError, match=r"requires trials: data\.val_alphabets is 0"):
        one_shot(Features("coarse"), Omniglot(root=root, val_alphabets=0))


def test_the_sentence_is_in_per_cent() -> None:
    found = {"test/one_shot_error": 0.3525, "test/one_shot_error_pixels": 0.5,
             "test/one_shot_error_chance": 0.95}  # fmt: skip
    assert in_words(found) == "one-shot error 35.2 %; pixels 50.0 %, chance 95.0 %"
    assert in_words({"test/knn_top1": 1.0}) == ""


def test_the_callback_logs_the_metric_of_validation_features(root: str, tmp_path: Path) -> None:
    method: Any = small("simclr")
    data = Omniglot(root=root, val_alphabets=1, image_size=8, eval_batch_size=7, centred=False)
    run = trainer(tmp_path, OneShot())
    run.validate(method, datamodule=data, verbose=False)
    trials = data.episodes("val")
    assert trials is not None
    bank = collect(method.eval(), (data.to_device(b) for b in data.bank_dataloader("val")))
    expected = float(one_shot_error(trials, bank, bank).mean())
    assert float(run.callback_metrics["val/one_shot_error"]) == pytest.approx(expected)
    assert 0 < expected < 0.9


@pytest.mark.ddp
def test_ranks_have_the_error_of_one_process(ranks: Ranks, root: str) -> None:
    program = "tests.evaluation.programs_one_shot:validated"
    one, *more = (value for n in (1, 2, 3) for value in ranks.run(program, n, root))
    assert 0 < one < 0.9
    assert more == pytest.approx([one] * 5)


def test_the_callback_keeps_silent_without_trials(tmp_path: Path) -> None:
    from tests.callbacks.programs_watching import digits

    run = trainer(tmp_path, OneShot())
    run.validate(small("simclr"), datamodule=digits(), verbose=False)
    assert not [key for key in run.callback_metrics if "one_shot" in key]


def test_a_run_is_evaluated_on_the_official_test(here: Here, root: str) -> None:
    """Fit on background alphabets, then both measures by the command line, twice alike."""
    here("fit", "simclr/omniglot", f"data.root={root}", "data.val_alphabets=1", *OFF)
    [run] = here.runs()
    trained = json.loads((run / "metrics.json").read_text())
    assert 0 <= trained["val/one_shot_error"] < 0.95
    words = ("data=OmniglotOneShot", f"data.root={root}")
    found = [json.loads(here("evaluate", str(run), *words, "--json")[0]) for _ in range(2)]
    assert found[0]["test/one_shot_error"] == found[1]["test/one_shot_error"]
    assert found[0]["test/one_shot_trials"] == 2
    assert not [key for key in found[0] if "knn" in key]
    out, _ = here("evaluate", str(run), *words)
    assert f"one-shot error {100 * found[0]['test/one_shot_error']:.1f} %; pixels" in out
    out, _ = here("evaluate", str(run))
    assert "val/one_shot_error" in out
