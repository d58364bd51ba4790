"""Which network a word means, its name in figures, and what is said when it is not there."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from genlab.errors import CheckpointError
from genlab.evaluation import judges, open_judge, published
from genlab.evaluation.published import NETWORKS
from tests.evaluation.test_inception import made_up_weights

IMAGE = torch.arange(4 * 8 * 8, dtype=torch.uint8).view(4, 1, 8, 8)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing can be fetched, and nothing lies in the caches."""

    def refuse(source: str) -> Any:
        raise CheckpointError(f"{source} cannot be reached; a local file or folder works too")

    monkeypatch.setattr(judges, "fetch", refuse)
    monkeypatch.setattr(published, "fetch", refuse)
    monkeypatch.setattr("genlab.checkpoints.foreign.fetching._reach", lambda url: False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.delenv("GENLAB_WEIGHTS", raising=False)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", list(NETWORKS))
def test_absent_weights_say_what_to_fetch_where_to_put_it_and_what_else_does(name: str) -> None:
    with pytest.raises(ValueError, match="not on this machine") as error:
        open_judge(name)
    for word in (NETWORKS[name].url, "hub/checkpoints", "GENLAB_WEIGHTS", "--judge classifier/"):
        assert word in str(error.value)
    assert len(str(error.value).splitlines()) == 2


def test_inception_is_loaded_from_the_folder_of_weights(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    weights = made_up_weights()
    torch.save(weights, tmp_path / NETWORKS["inception"].file)
    monkeypatch.setenv("GENLAB_WEIGHTS", str(tmp_path))
    judge = open_judge("inception")
    assert (judge.name, judge.dim, judge.classes) == ("inception", 2048, 1008)
    assert "8 px to 299 px as TensorFlow 1 does" in judge.preprocessing(1, 8)
    found, logits = judge(IMAGE[:2])
    assert found.shape == (2, 2048)
    assert logits is not None
    torch.testing.assert_close(logits, found @ weights["fc.weight"].T)  # as published: no bias
    torch.save({"x": torch.ones(1)}, tmp_path / NETWORKS["inception"].file)
    with pytest.raises(ValueError, match="not weights of FID's Inception"):
        open_judge("inception")


@pytest.mark.usefixtures("offline")
def test_absent_weights_of_an_encoder_say_so() -> None:
    with pytest.raises(ValueError, match="no weights for resnet18") as error:
        open_judge("resnet18")
    assert "--judge resnet18:FILE" in str(error.value)


def test_a_word_that_means_nothing_says_what_a_judge_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"clasifier/mnist is not a run directory.*\n.*inception"):
        open_judge("clasifier/mnist")
    (tmp_path / "judge.yaml").write_text("config: classifier/digits\n")
    with pytest.raises(ValueError, match=r"judge.yaml is a recipe.*\n.*head=file.*\n.*inception"):
        open_judge("judge.yaml")


def test_an_encoder_with_a_file_of_weights_looks_at_its_own_size() -> None:
    folder = Path(os.environ.get("GENLAB_WEIGHTS", "-"))
    file = folder / "tf_efficientnet_lite0-imagenet1k.safetensors"
    if not file.is_file():
        pytest.skip("GENLAB_WEIGHTS does not name a folder with tf_efficientnet_lite0's weights")
    judge = open_judge(f"tf_efficientnet_lite0:{file}")
    assert (judge.name, judge.dim, judge.classes) == ("tf_efficientnet_lite0", 1280, 0)
    assert "8 px to 224 px, bilinear, antialiased, grey as 3" in judge.preprocessing(1, 8)
    assert str(file) in judge.source
    found, logits = judge(IMAGE[:1])
    again, _ = judge(IMAGE[:1].expand(1, 3, 8, 8))
    assert logits is None
    assert found.shape == (1, 1280)
    torch.testing.assert_close(found, again)


def test_the_address_of_its_weights_is_stored_without_credentials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = torch.nn.Identity()
    network.out_dim = 3  # type: ignore[assignment]
    asked = []

    def encoder(*words: Any, pretrained: str, **options: Any) -> torch.nn.Module:
        asked.append(pretrained)
        return network

    monkeypatch.setattr(judges.networks, "encoder", encoder)
    monkeypatch.setattr(judges, "fetch", lambda source: SimpleNamespace(file=Path(__file__)))
    address = "https://me:pa,ss@host/w.pth?token=abc"
    judge = open_judge(f"resnet18:{address}")
    assert asked == [address]
    assert judge.source == "resnet18 with the weights of https://host/w.pth"


def test_the_name_before_a_file_says_its_architecture(tmp_path: Path) -> None:
    """No warning of twins then; the file's own word counts as well."""
    state, file = timm.create_model("resnet18").state_dict(), tmp_path / "weights.pth"
    torch.save(state, file)
    assert open_judge(f"resnet18:{file}").dim == 512
    torch.save({"state_dict": state, "arch": "resnetblur18"}, file)
    with pytest.raises(
        ValueError, match="is of resnetblur18, not of resnet18: their features"
    ) as e:
        open_judge(f"resnet18:{file}")
    assert len(str(e.value).splitlines()) == 2


def test_looking_keeps_labels_and_positions_with_their_features() -> None:
    def net(image: Tensor) -> tuple[Tensor, None]:
        return image.flatten(1)[:, :3].float(), None

    judge = judges.Judge("three", "three pixels", 3, 0, 1, 8, net)
    label, position = torch.tensor([3, 1, -1, 0]), torch.tensor([9, 2, 5, 7])
    batches = [(IMAGE[r], label[r], position[r]) for r in (slice(0, 3), slice(3, 4))]
    seen = judge.look(batches)
    torch.testing.assert_close(seen.features, IMAGE.flatten(1)[:, :3].float())
    assert torch.equal(seen.label, label)
    assert torch.equal(seen.position, position)
