"""What a checkpoint decides when it is measured, and what it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from genlab import checkpoints, recipes
from genlab.data.files import download
from genlab.errors import InputError
from genlab.training import opened
from genlab.training.opened import open_run


def with_data(run: Path, file: Path, **stamp: Any) -> str:
    """A copy of the run's checkpoint with another description."""
    content = checkpoints.read(run)
    content["genlab"] |= stamp
    checkpoints.AtomicCheckpointIO().save_checkpoint(content, file)
    return str(file)


def test_nothing_is_downloaded_into_a_folder_that_a_file_names(
    digits_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fetch(root: Path, wanted: Path, how: Any) -> None:
        asked.append(root)
        raise download.MissingDataError(f"no network for {root}")

    monkeypatch.setattr("genlab.data.torchvision_sets.fetch", fetch)
    planted = tmp_path / "planted"
    given = {"root": str(planted), "resize": 8, "download": True}
    recipe = {"data": {"class_path": "MNIST", "init_args": given}}
    file = with_data(digits_run, tmp_path / "x.ckpt", recipe=recipe)
    with pytest.raises(InputError, match=r"MNIST not found.*\n.*data\.download=true"):
        open_run([file], [])
    assert not asked
    assert not planted.exists()
    for words in (["data.download=true"], [f"data.root={planted}"]):  # the user's own choice
        with pytest.raises(InputError, match="no network"):
            open_run([file], words)
    assert asked == [planted, planted]


def test_parents_in_a_file_are_facts_of_networks(digits_run: Path, tmp_path: Path) -> None:
    facts = {"file": "a.pth", "sha256": "ab12cd34ef56"}
    file = with_data(digits_run, tmp_path / "x.ckpt", parents={"pretrained": facts})
    assert open_run([file], [])[0].parents == {"pretrained": facts}
    for wrong in ([1], {"pretrained": {"metrics": {"test/accuracy": "x"}}}, {"pretrained": 3}):
        file = with_data(digits_run, tmp_path / "x.ckpt", parents=wrong)
        with pytest.raises(InputError, match="is damaged: its parents"):
            open_run([file], [])


def test_a_typed_part_of_an_argument_leaves_the_rest_to_the_checkpoint(digits_run: Path) -> None:
    own: Any = checkpoints.read(digits_run)["hyper_parameters"]
    typed = ["model.optimizer.lr=0.5", "model.encoder_kwargs={normalize: {mean: 1}}"]
    found = recipes.resolve([digits_run], typed)
    found.config["model"]["init_args"]["optimizer"]["weight_decay"] = 7  # that recipe's own
    theirs = {"optimizer": own["optimizer"], "encoder_kwargs": {"normalize": {"std": 2}, "a": 3}}
    opened._take_method(found, {"class_path": "VAE", "init_args": theirs})
    taken = found.arguments("model")
    assert len(own["optimizer"]) > 1
    assert taken["optimizer"] == own["optimizer"] | {"lr": 0.5}
    assert taken["encoder_kwargs"] == {"normalize": {"std": 2, "mean": 1}, "a": 3}
    lab, _ = open_run([str(digits_run)], typed[:1])
    assert lab.model.hparams["optimizer"] == own["optimizer"] | {"lr": 0.5}
