"""``genlab export``: a folder that is whole or not there, and pushed when asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import yaml
from torch import nn

from genlab import checkpoints
from genlab.methods.autoencoder import Autoencoder
from genlab.methods.classifier import Classifier
from tests.conftest import Here, Shell


def save(method: Any, file: Path, **more: Any) -> Path:
    """A checkpoint as `fit` writes it, without a fit."""
    kind = f"{type(method).__module__}.{type(method).__qualname__}"
    content = {
        "state_dict": method.state_dict(),
        "hyper_parameters": dict(method.hparams),
        "genlab": {"class_path": kind, "name": "classifier/x", "recipe": {"seed_everything": 5}},
        "global_step": 30,
        "epoch": 2,
    }
    checkpoints.AtomicCheckpointIO().save_checkpoint(content | more, file)
    return file


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run of a ResNet leaves, made without training."""
    folder = tmp_path_factory.mktemp("run")
    method = Classifier(5, 1, 16, "resnet10t")
    method.hparams["encoder_kwargs"] = {"compile": True}  # an export does without
    for module in method.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
    for name, step in (("best", 20), ("last", 30)):
        save(method, folder / "checkpoints" / f"{name}.ckpt", global_step=step)
    (folder / "recipe.yaml").write_text("")
    metrics = {"step": 30, "val/loss": 0.9, "best/val/loss": 0.7, "test/loss": 0.8,
               "test_checkpoint": "best.ckpt"}  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def test_a_run_becomes_timms(run: Path, here: Here) -> None:
    out, _ = here("export", str(run), "--out", "a/b", "--license", "MIT")
    assert "model.safetensors" in out
    folder = here.folder / "a" / "b"
    assert {f.name for f in folder.iterdir()} == {"model.safetensors", "config.json", "README.md"}
    model: Any = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    method = Classifier(5, 1, 16, "resnet10t")
    checkpoints.restore(method, checkpoints.read(run), run)
    image = torch.rand(3, 1, 16, 16)
    with torch.no_grad():
        assert torch.equal(model(image), method.head(method(image)))
    text = (folder / "README.md").read_text()
    header = yaml.safe_load(text.split("---\n")[1])
    assert header["license"] == "mit"
    for line in (
        "**seed**: 5",
        "| val/loss | 0.7 |",
        "| test/loss | 0.8 |",
        "step 20",
        "resnet10t",
    ):
        assert line in text
    assert not [f for f in (here.folder / "a").iterdir() if f.name != "b"]


def test_figures_are_those_of_the_exported_checkpoint(run: Path, here: Here) -> None:
    here("export", str(run / "checkpoints" / "last.ckpt"), "--out", "x")
    text = (here.folder / "x" / "README.md").read_text()
    assert "| val/loss | 0.9 |" in text
    assert "test/loss" not in text


def test_fusing_folds_batch_norms_of_the_program_only(run: Path, here: Here) -> None:
    found = {}
    for name, words in (("plain", []), ("fused", ["--fuse"])):
        here("export", str(run), "--out", name, "--format", "torch", *words)
        found[name] = torch.export.load(here.folder / name / "model.pt2")
    kinds = {name: str(program.graph).count("batch_norm") for name, program in found.items()}
    assert kinds["plain"] > 0 == kinds["fused"]
    image = torch.rand(4, 1, 16, 16)
    plain, fused = (program.module()(image) for program in found.values())
    torch.testing.assert_close(plain, fused, rtol=1e-4, atol=1e-4)
    weights = [(here.folder / n / "model.safetensors").read_bytes() for n in ("plain", "fused")]
    assert weights[0] == weights[1]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--format", "timm", "--fuse"], "--fuse is for --format torch and onnx"),
        (["--push", "name"], "OWNER/NAME"),
        (["--license", "my own"], "SPDX"),
        (["--format", "tf"], "invalid choice"),
    ],
)
def test_wrong_words_are_refused_before_anything(
    run: Path, here: Here, words: list[str], why: str
) -> None:
    _, err = here("export", str(run), "--out", "x", *words, code=2)
    assert why in err
    assert len(err.strip().splitlines()) <= 3
    assert not list(here.folder.iterdir())


@pytest.mark.parametrize(
    ("method", "why"),
    [
        (lambda: Classifier(encoder="lenet"), "lenet is not registered with timm.*--format torch"),
        (lambda: Autoencoder(image_size=8), "has no backbone"),
    ],
)
def test_what_cannot_be_exported_leaves_nothing(here: Here, method: Any, why: str) -> None:
    file = save(method(), here.folder / "in" / "x.ckpt")
    _, err = here("export", str(file), "--out", "new/x", code=2)
    assert len(err.strip().splitlines()) <= 3
    assert why.partition(".*")[0] in err
    assert why.rpartition(".*")[2] in err
    assert [p.name for p in here.folder.iterdir()] == ["in"]


def test_a_failure_at_the_end_leaves_the_old_export(
    run: Path, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    here("export", str(run), "--out", "x")
    (here.folder / "x" / "config.json").write_text("old")
    monkeypatch.setattr("genlab.checkpoints.export.model_card.card", lambda *a: 1 / 0)
    for name in ("x", "y"):
        with pytest.raises(ZeroDivisionError):
            here("export", str(run), "--out", name, "--force")
    assert [p.name for p in here.folder.iterdir()] == ["x"]
    assert (here.folder / "x" / "config.json").read_text() == "old"


def test_a_folder_in_use_needs_force_which_touches_exports_only(run: Path, here: Here) -> None:
    target = here.folder / "x"
    target.mkdir()
    for name in ("mine.txt", "model.onnx"):
        (target / name).write_text("x")
    _, err = here("export", str(run), "--out", "x", code=2)
    assert "--force" in err
    assert len(list(target.iterdir())) == 2
    here("export", str(run), "--out", "x", "--force")
    assert {f.name for f in target.iterdir()} == {
        "mine.txt", "model.safetensors", "config.json", "README.md",
    }  # fmt: skip
    _, err = here("export", str(run), "--out", "x/mine.txt", code=2)
    assert "is a file" in err


def test_push_uploads_the_export(run: Path, here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, Any]] = []

    class Hub:
        def __init__(self, **kwargs: Any) -> None:
            pass

        def create_repo(self, repository: str, exist_ok: bool) -> None:
            calls.append(("create", repository))

        def upload_folder(self, folder_path: Path, **kwargs: Any) -> str:
            calls.append((kwargs["repo_id"], {f.name for f in folder_path.iterdir()}))
            return "the hub"

    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    out, _ = here("export", str(run), "--out", "x", "--push", "me/net")
    assert "pushed to the hub" in out
    files = {"model.safetensors", "config.json", "README.md"}
    assert calls == [("create", "me/net"), ("me/net", files)]
    assert "hf-hub:me/net" in (here.folder / "x" / "README.md").read_text()


@pytest.mark.slow
def test_push_without_a_network_ends_at_once_and_keeps_the_folder(run: Path, shell: Shell) -> None:
    words = ["export", str(run), "--out", "x", "--push", "me/net"]
    nowhere = "http://127.0.0.1:9"
    _, err = shell.anew(*words, code=2, HF_ENDPOINT=nowhere, HF_TOKEN="hf_none", TQDM_DISABLE="1")
    lines = err.strip().splitlines()
    assert len(lines) <= 3
    assert "not pushed to me/net" in lines[0]
    assert (shell.folder / "x" / "model.safetensors").is_file()


def test_a_method_that_is_loaded_for_use_is_not_compiled(run: Path) -> None:
    method: Any = checkpoints.load(run)
    assert checkpoints.read(run)["hyper_parameters"]["encoder_kwargs"] == {"compile": True}
    assert not method.encoder.compiled


def test_weights_that_are_not_finite_are_not_exported(here: Here) -> None:
    method = Classifier(5, 1, 16, "small_cnn")
    with torch.no_grad():
        next(method.encoder.parameters()).fill_(float("nan"))
    file = save(method, here.folder / "x.ckpt")
    _, err = here("export", str(file), "--out", "out", "--format", "torch", code=2)
    assert "holds weights that are not finite" in err
    assert len(err.splitlines()) <= 3
    assert [path.name for path in here.folder.iterdir()] == ["x.ckpt"]
