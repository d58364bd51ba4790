"""Files that are damaged, foreign or hostile are refused in words, and nothing in them runs."""

from __future__ import annotations

import argparse
import os
import pickle
import sys
import types
import zipfile
from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from torch import nn

from genlab.checkpoints import load_backbone
from genlab.errors import CheckpointError

VIT: dict[str, Any] = {"img_size": 16, "patch_size": 8, "embed_dim": 32, "depth": 1, "num_heads": 2}


def small(**options: Any) -> nn.Module:
    return timm.create_model("vit_tiny_patch16_224", **{"num_classes": 0, **VIT, **options})


class RunsCode:
    """Unpickling it makes a file."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.sentinel}",)


def zipped(content: Any, file: Path) -> None:
    torch.save(content, file)


def legacy(content: Any, file: Path) -> None:
    torch.save(content, file, _use_new_zipfile_serialization=False)


def raw(content: Any, file: Path) -> None:
    file.write_bytes(pickle.dumps(content, protocol=2))


FORMATS: list[Callable[[Any, Path], None]] = [zipped, legacy, raw]


def refusal(file: Path, **options: Any) -> str:
    model = small()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(CheckpointError) as error:
        load_backbone(model, str(file), **options)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("save", FORMATS)
def test_code_in_a_pickle_does_not_run(save: Callable[..., None], tmp_path: Path) -> None:
    file, sentinel = tmp_path / "evil.pth", tmp_path / "it_ran"
    save({"extra": RunsCode(sentinel), "state_dict": small().state_dict()}, file)
    assert "system" in refusal(file)
    assert "it could run code" in refusal(file)
    assert not sentinel.exists()


@pytest.mark.parametrize("save", [zipped, legacy])
def test_unsafe_pickle_is_asked_for_and_warned_of(
    save: Callable[..., None], tmp_path: Path
) -> None:
    """The control: the very file of the test above does run code when told to."""
    file, sentinel = tmp_path / "evil.pth", tmp_path / "it_ran"
    save({"extra": RunsCode(sentinel), "state_dict": small().state_dict()}, file)
    with pytest.warns(UserWarning, match=r"evil.pth is unpickled in full"):
        report = load_backbone(small(), str(file), unsafe_pickle=True)
    assert sentinel.exists()
    assert report.share == 1


@pytest.mark.parametrize("save", [zipped, legacy])
def test_a_whole_pickled_network_names_its_class(save: Callable[..., None], tmp_path: Path) -> None:
    model = small()
    save(model, tmp_path / "model.pth")
    assert "timm.models.vision_transformer.VisionTransformer" in refusal(tmp_path / "model.pth")
    with pytest.warns(UserWarning, match="unpickled in full"):
        report = load_backbone(small(), str(tmp_path / "model.pth"), unsafe_pickle=True)
    assert report.share == 1


@pytest.mark.parametrize("save", [zipped, legacy])
def test_harmless_company_is_read(
    save: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What training scripts leave beside weights: settings, numpy numbers, paths, Lightning's."""
    module: Any = types.ModuleType("omegaconf.dictconfig")
    module.DictConfig = type("DictConfig", (), {"__module__": module.__name__})
    module.AttributeDict = type("AttributeDict", (dict,), {"__module__": module.__name__})
    monkeypatch.setitem(sys.modules, "omegaconf", types.ModuleType("omegaconf"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    config = module.DictConfig()
    config.content = {"lr": 0.1}
    company = {
        "args": argparse.Namespace(lr=0.1, out=Path("runs")),
        "best": np.float64(0.9),
        "hyper_parameters": module.AttributeDict(config=config),
        "callbacks": {module.DictConfig: {"best": 1}},
    }
    save({"state_dict": small().state_dict(), **company}, tmp_path / "run.ckpt")
    monkeypatch.undo()  # omegaconf is not installed here
    assert load_backbone(small(), str(tmp_path / "run.ckpt")).share == 1


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("kind", ["zipped", "legacy", "safetensors"])
def test_truncated(kind: str, kept: float, tmp_path: Path) -> None:
    file = tmp_path / f"weights.{kind}"
    state = small().state_dict()
    if kind == "safetensors":
        safetensors.torch.save_file(state, file)
    else:
        (zipped if kind == "zipped" else legacy)(state, file)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(kept * len(whole))])
    assert str(file) in refusal(file)


@pytest.mark.parametrize("unsafe", [False, True])
def test_a_compressed_archive_is_not_unpacked(unsafe: bool, tmp_path: Path) -> None:
    """A third of a megabyte that torch would read as 300: refused before anything is unpacked."""
    whole, bomb = tmp_path / "whole.pt", tmp_path / "bomb.pt"
    torch.save(small().state_dict() | {"zeros": torch.zeros(1 << 20)}, whole)
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    assert bomb.stat().st_size < whole.stat().st_size / 10
    load_backbone(small(), str(whole))
    assert "it could fill the memory" in refusal(bomb, unsafe_pickle=unsafe)


def test_entries_that_share_their_bytes_are_not_unpacked(tmp_path: Path) -> None:
    """Stored, but listed many times over: together larger than the file."""
    file = tmp_path / "weights.pt"
    torch.save(small().state_dict() | {"zeros": torch.zeros(1 << 16)}, file)
    with zipfile.ZipFile(file, "a") as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
        for i in range(3):
            again = copy(largest)
            again.filename = f"{largest.filename}{i}"
            archive.filelist.append(again)
            archive.NameToInfo[again.filename] = again
        archive.writestr("last", b"")  # so that the new list is written
    assert "it could fill the memory" in refusal(file)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html><html>Not found</html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a git-lfs pointer"),
        (b"PK\x03\x04 this is no archive", "weights.pth"),
        (b"something else", "is not a checkpoint"),
    ],
)
def test_not_a_checkpoint(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(content)
    assert words in refusal(tmp_path / "weights.pth")


@pytest.mark.parametrize("content", [{}, {"state_dict": {}}, {"epoch": 3}, torch.ones(3), [1]])
def test_nothing_in_it(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "weights.pth")
    assert "contains no named tensors" in refusal(tmp_path / "weights.pth")


def test_weights_that_are_not_numbers(tmp_path: Path) -> None:
    state = small().state_dict()
    state["norm.weight"][3] = float("nan")
    torch.save(state, tmp_path / "weights.pth")
    assert "contains NaN or infinity in norm.weight" in refusal(tmp_path / "weights.pth")


@pytest.mark.parametrize(("option", "value"), [("take", "best"), ("at_least", 90)])
def test_options_are_checked(option: str, value: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=option):
        load_backbone(small(), str(tmp_path), **{option: value})
