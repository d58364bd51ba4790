"""What lies beside weights is read with them: configurations, revisions, other versions' files."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from huggingface_hub.errors import EntryNotFoundError

from genlab.checkpoints import backbone_of
from genlab.checkpoints.foreign import fetching
from genlab.errors import CheckpointError
from tests.checkpoints.foreign.test_fetching import (
    NAME,
    VIT,
    file,
    loads,
    own_cache,
    refused,
    source,
    timm_folder,
)

__all__ = ["file", "own_cache", "source"]  # fixtures


def test_a_file_and_its_folder_give_the_same_normalisation(source: Any, tmp_path: Path) -> None:
    folder = timm_folder(source, tmp_path / "export")
    for address in (folder, folder / "model.safetensors"):
        assert loads(address, source).mean == (0.1, 0.2, 0.3)
        assert backbone_of(address) == backbone_of(folder)
    torch.save(source.state_dict(), folder / "mine.pth")  # another file, of which it says nothing
    assert loads(folder / "mine.pth", source).mean != (0.1, 0.2, 0.3)
    assert backbone_of(folder / "mine.pth") is None


@pytest.mark.parametrize(
    "config",
    ['{"architectures": ["ViT"], "mean": [0.1], "std": [0.2]}', "[1, 2]", '{"architecture": "vit'],
)
def test_configurations_of_others_are_passed_over(config: str, source: Any, tmp_path: Path) -> None:
    """Transformers' is not timm's; a list and half a file are nobody's."""
    folder = timm_folder(source, tmp_path / "export")
    (folder / "config.json").write_text(config)
    assert loads(folder / "model.safetensors", source).mean == (0.5,) * 3  # timm's for the name
    assert backbone_of(folder / "model.safetensors") is None


@pytest.fixture
def hub(source: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub whose repository has moved on since it was cached: its root."""
    root = tmp_path / "hub" / "models--me--net" / "snapshots"
    for commit, mean in (("0123456789", 0.1), ("abcdef0123", 0.3)):
        timm_folder(source, root / commit)
        config = {"pretrained_cfg": {"mean": [mean] * 3, "std": [1.0] * 3}}
        (root / commit / "config.json").write_text(json.dumps(config))

    def download(repository: str, name: str, local_files_only: bool, **_: Any) -> str:
        assert repository == "me/net"
        path = root / ("0123456789" if local_files_only else "abcdef0123") / name
        if not path.exists():
            raise EntryNotFoundError(name)
        return str(path)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    monkeypatch.setattr(fetching, "_reach", lambda url: True)
    return root


def test_the_hub_is_asked_before_its_cache(
    hub: Path, source: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = loads("hf-hub:me/net", source)
    assert report.mean == pytest.approx((0.3,) * 3)
    assert "from hf-hub:me/net at abcdef0: 100 %" in str(report)
    monkeypatch.setattr(fetching, "_reach", lambda url: False)
    report = loads("hf-hub:me/net", source)
    assert report.mean == pytest.approx((0.1,) * 3)
    assert "from hf-hub:me/net at 0123456 (from the cache)" in str(report)
    monkeypatch.setattr(fetching, "_reach", lambda url: 1 / 0)  # not asked where the user says so
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert loads("hf-hub:me/net", source).revision.startswith("0123456")


@pytest.mark.parametrize("config", ["[1]", "{", '{"genlab": 3, "pretrained_cfg": 4}'])
def test_a_bad_configuration_on_the_hub(config: str, hub: Path, source: Any) -> None:
    (hub / "abcdef0123" / "config.json").write_text(config)
    assert loads("hf-hub:me/net", source).mean == (0.5,) * 3  # timm's for the name
    assert backbone_of("hf-hub:me/net") is None


def artifact(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Path]]:
    """The versions that W&B will deliver one after the other: names and what they are made of."""
    from lightning.pytorch.loggers import WandbLogger

    versions: list[dict[str, Path]] = []

    def download(artifact: str, save_dir: str, **options: Any) -> str:
        for name, made_of in versions.pop(0).items():
            target = Path(save_dir, name)
            if made_of.is_symlink():
                os.symlink(made_of.readlink(), target)
            else:
                shutil.copy(made_of, target)
        return save_dir

    monkeypatch.setattr(WandbLogger, "download_artifact", staticmethod(download))
    monkeypatch.delenv("WANDB_MODE", raising=False)
    return versions


def test_an_alias_that_moved_leaves_no_old_files(
    file: Path, source: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = artifact(monkeypatch)
    versions += [{"model.ckpt": file}, {"epoch=3.ckpt": file}, {"epoch=4.ckpt": file}]
    for _ in range(3):
        loads("wandb:me/project/model-1:latest", source)
    assert not versions


def test_an_artifact_does_not_lead_elsewhere(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / "link"
    link.symlink_to(file)
    artifact(monkeypatch).append({"model.ckpt": link})
    assert "model.ckpt leads out of the artifact" in refused("wandb:me/project/model-1:latest")


def test_what_a_file_says_of_its_network_loads_nothing(source: Any, tmp_path: Path) -> None:
    """A configuration from elsewhere must neither name further files nor take safety off."""
    traps = {
        "checkpoint_path": "../../evil.pth",
        "pretrained": "../evil.pth",
        "pretrained_options": {"unsafe_pickle": True},
        "pretrained_cfg_overlay": {"file": "/etc/passwd"},
    }
    kept = {"patch_size": 8}
    folder = timm_folder(source, tmp_path / "export")
    expected = {"encoder": NAME, "encoder_kwargs": kept}
    for config in (
        {"architecture": NAME, "model_args": traps | kept},
        {"genlab": {"encoder": NAME, "encoder_kwargs": traps | kept}},
    ):
        (folder / "config.json").write_text(json.dumps(config))
        assert backbone_of(folder) == expected
    arguments = {"encoder": NAME, "encoder_kwargs": traps | kept}
    torch.save({"state_dict": {}, "hyper_parameters": arguments}, tmp_path / "run.ckpt")
    assert backbone_of(tmp_path / "run.ckpt") == expected


@pytest.fixture
def run(tmp_path: Path, source: Any) -> Path:
    """A run directory as genlab leaves it."""
    folder = tmp_path / "runs" / "simclr" / "cifar10" / "run-1"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "recipe.yaml").write_text("data: {class_path: CIFAR10}\n")
    (folder / "metrics.json").write_text("{}\n")  # it is finished
    state = {f"encoder.backbone.{n}": v for n, v in source.state_dict().items() if "head" not in n}
    statistics = {"mean": torch.full((3,), 0.4), "std": torch.full((3,), 0.2)}
    state |= {f"encoder.normalize.{n}": v for n, v in statistics.items()}
    arguments = {"encoder": NAME, "encoder_kwargs": {"patch_size": 8}, "pretrained": False}
    content = {"state_dict": state, "hyper_parameters": arguments, "genlab": {}}
    torch.save(content, folder / "checkpoints" / "best.ckpt")
    return folder


def test_genlab_run(run: Path, source: Any) -> None:
    for address in (run, run.name, "simclr/cifar10", run / "checkpoints" / "best.ckpt"):
        report = loads(str(address), source)
        assert report.mean == pytest.approx((0.4,) * 3)
        assert backbone_of(str(address)) == {"encoder": NAME, "encoder_kwargs": {"patch_size": 8}}


def test_an_older_run_tells_that_it_had_no_normalisation(run: Path, source: Any) -> None:
    file = run / "checkpoints" / "best.ckpt"
    content = torch.load(file)
    content["state_dict"] = {n: v for n, v in content["state_dict"].items() if "normal" not in n}
    torch.save(content, file)
    report = loads(run, source)
    assert (report.mean, report.std, report.told_by) == ((0.0,), (1.0,), "the run's own")


def test_a_whole_pickle_says_its_network_only_when_asked(tmp_path: Path) -> None:
    arguments = {"encoder": NAME, "model": timm.create_model(NAME, **VIT)}
    torch.save({"state_dict": {}, "hyper_parameters": arguments}, tmp_path / "run.ckpt")
    with pytest.raises(CheckpointError, match="could run code"):
        backbone_of(tmp_path / "run.ckpt")
    with pytest.warns(UserWarning, match="unpickled in full"):
        found = backbone_of(tmp_path / "run.ckpt", unsafe_pickle=True)
    assert found == {"encoder": NAME, "encoder_kwargs": {}}


def test_a_file_that_names_no_network(file: Path) -> None:
    assert backbone_of(file) is None
    assert backbone_of(True) is None
