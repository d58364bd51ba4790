"""What is exported gives the same features elsewhere: in timm, in torch and ONNX, in genlab."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import nn

from genlab import checkpoints, networks
from genlab.checkpoints.export.model_card import Origin, card
from genlab.checkpoints.export.programs import Program, check_onnx, write_onnx, write_torch
from genlab.checkpoints.export.timm_folder import Parts, parts_of, write_timm
from genlab.errors import CheckpointError
from genlab.methods.autoencoder import Autoencoder
from genlab.methods.classifier import Classifier
from genlab.methods.ogan import OGAN

NETWORKS: dict[str, tuple[str, int, int, dict[str, Any]]] = {
    "resnet": ("resnet10t", 1, 32, {}),
    "vit": ("vit_tiny_patch16_224", 1, 32, {"depth": 2, "patch_size": 4}),
    "vit_tagged": ("vit_tiny_patch16_224.augreg_in21k", 3, 96, {"depth": 2, "global_pool": "avg"}),
    "convnext": ("convnext_atto", 3, 64, {"drop_path_rate": 0.1}),
    "efficientnet": ("efficientnet_lite0", 2, 40, {}),
    "mixer": ("mixer_s32_224", 3, 96, {}),
    "distilled": ("deit_tiny_distilled_patch16_224", 3, 32, {"depth": 2}),
}

FROM_TIMM = """
import json, sys
import timm, torch
torch.set_num_threads(1)
for folder in sys.argv[1:]:
    image = torch.load(folder + "/../image.pt")
    full = timm.create_model("local-dir:" + folder, pretrained=True).eval()
    cfg = timm.data.resolve_model_data_config(full)
    mean, std = (torch.tensor(cfg[k])[:, None, None] for k in ("mean", "std"))
    given = (image - mean) / std
    bare = timm.create_model("local-dir:" + folder, pretrained=True, num_classes=0).eval()
    with torch.no_grad():
        found = {"features": bare(given), "logits": full(given)}
    found["size"] = torch.tensor(cfg["input_size"])
    torch.save(found, folder + "/../found.pt")
assert not any(name.partition(".")[0] == "genlab" for name in sys.modules)
"""

FROM_TORCH = """
import sys
import torch
torch.set_num_threads(1)
program = torch.export.load(sys.argv[1] + "/model.pt2").module()
for batch in (1, 5):
    image = torch.load(sys.argv[1] + "/../image.pt")[:batch]
    torch.save(program(image), f"{sys.argv[1]}/../found{batch}.pt")
assert not any(name.partition(".")[0] in ("genlab", "timm") for name in sys.modules)
"""


def classifier(encoder: str, channels: int, size: int, **kwargs: Any) -> Classifier:
    """One whose batch norms have statistics, and whose images are normalised."""
    normalize = {"mean": [0.1 * (c + 1) for c in range(channels)], "std": [0.37] * channels}
    options = kwargs | {"normalize": normalize}
    method = Classifier(7, channels, size, encoder, encoder_kwargs=options)
    for module in method.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
            module.momentum = 0.0
    return method.eval()


def elsewhere(program: str, *words: Path) -> None:
    """Run a program where genlab is not to be had."""
    code = f"import sys; sys.path[:] = [p for p in sys.path if {str(Path.cwd())!r} != p]\n{program}"
    command = [sys.executable, "-I", "-W", "ignore", "-c", code, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr


def no_grad(method: Classifier, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        return method(image), method.logits(image)


def test_timm_without_genlab_gives_the_same_bit_for_bit(tmp_path: Path) -> None:
    methods = {}
    for key, (name, channels, size, kwargs) in NETWORKS.items():
        folder = tmp_path / key / "export"
        folder.mkdir(parents=True)
        methods[key] = classifier(name, channels, size, **kwargs)
        held = write_timm(parts_of(methods[key]), folder)
        assert held.num_classes == (0 if key == "distilled" else 7)
        torch.save(torch.rand(3, channels, size, size), folder.parent / "image.pt")
    elsewhere(FROM_TIMM, *(tmp_path / key / "export" for key in NETWORKS))
    for key, method in methods.items():
        found = torch.load(tmp_path / key / "found.pt")
        features, logits = no_grad(method, torch.load(tmp_path / key / "image.pt"))
        assert torch.equal(found["features"], features), key
        assert key == "distilled" or torch.equal(found["logits"], logits), key
        assert found["size"].tolist() == [NETWORKS[key][1], *[NETWORKS[key][2]] * 2]
        config = json.loads((tmp_path / key / "export" / "config.json").read_text())
        assert config["architecture"] == NETWORKS[key][0].partition(".")[0]
        assert not {"license", "tag", "hf_hub_id", "url"} & config["pretrained_cfg"].keys()


@pytest.mark.parametrize(
    ("kind", "name", "channels", "size", "kwargs"),
    [
        ("timm", *NETWORKS["resnet"]),
        ("timm", *NETWORKS["vit"]),
        ("torch", "lenet", 1, 28, {}),
        ("torch", "resnet18", 3, 32, {"stem": "cifar"}),
    ],
)
def test_back_into_genlab(
    tmp_path: Path, kind: str, name: str, channels: int, size: int, kwargs: dict[str, Any]
) -> None:
    method = classifier(name, channels, size, **kwargs)
    parts = parts_of(method)
    if kind == "timm":
        write_timm(parts, tmp_path)
    else:
        write_torch(parts, tmp_path, Program(parts.encoder, parts.head))
    found = checkpoints.backbone_of(str(tmp_path))
    assert found is not None
    options = dict(found["encoder_kwargs"])
    assert options.pop("normalize") == method.hparams["encoder_kwargs"]["normalize"]
    again = networks.encoder(found["encoder"], channels, size, pretrained=str(tmp_path), **options)
    image = torch.rand(3, channels, size, size)
    with torch.no_grad():
        assert torch.equal(again.eval()(image), method(image))
    assert again.report is not None
    assert again.report.share == 1


def test_plain_torch_runs_the_program(tmp_path: Path) -> None:
    method = classifier("resnet10t", 1, 32)
    parts, folder = parts_of(method), tmp_path / "export"
    folder.mkdir()
    write_torch(parts, folder, Program(parts.encoder, parts.head))
    image = torch.rand(5, 1, 32, 32)
    torch.save(image, tmp_path / "image.pt")
    elsewhere(FROM_TORCH, folder)
    for batch in (1, 5):
        found = torch.load(tmp_path / f"found{batch}.pt")
        torch.testing.assert_close(found, no_grad(method, image[:batch]))
    assert torch.equal(load_file(folder / "head.safetensors")["weight"], method.head.weight)


@pytest.mark.parametrize("key", ["resnet", "vit"])
def test_onnx_gives_the_same(tmp_path: Path, key: str) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install genlab[onnx] onnxruntime")
    import onnxruntime  # type: ignore[import-not-found,unused-ignore]

    name, channels, size, kwargs = NETWORKS[key]
    method = classifier(name, channels, size, **kwargs)
    parts = parts_of(method)
    assert write_onnx(parts, tmp_path, Program(parts.encoder, parts.head))
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    for batch in (1, 4):
        image = torch.rand(batch, channels, size, size)
        features, logits = session.run(["features", "logits"], {"image": image.numpy()})
        for found, wanted in zip((features, logits), no_grad(method, image), strict=True):
            np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-4, atol=1e-4)


def test_onnx_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CheckpointError, match=r"onnx and onnxscript: pip install"):
        check_onnx()


@pytest.mark.parametrize(
    ("method", "why"),
    [
        (lambda: Classifier(encoder="lenet"), "lenet is not registered with timm.*--format torch"),
        (lambda: Classifier(encoder="resnet18", encoder_kwargs={"stem": "cifar"}),
         "stem cifar.*--format torch"),
        (lambda: Classifier(7, 3, 32, "mixer_s32_224"), "stem patch.*--format torch"),
        (lambda: Autoencoder(image_size=8), "Autoencoder has no backbone"),
        (lambda: OGAN(image_size=8), "^OGAN has no backbone.*`genlab embed`"),
    ],
)  # fmt: skip
def test_what_timm_cannot_express_is_refused(tmp_path: Path, method: Any, why: str) -> None:
    with pytest.raises(CheckpointError, match=why):
        write_timm(parts_of(method().eval()), tmp_path)
    assert not list(tmp_path.iterdir())


def test_other_features_in_timm_are_noticed(tmp_path: Path) -> None:
    """An encoder that does more than its architecture says."""
    method = classifier("resnet10t", 1, 32)
    method.encoder.backbone.register_forward_hook(lambda m, a, out: out + 1)
    with pytest.raises(CheckpointError, match="other features"):
        write_timm(parts_of(method), tmp_path)


def made(**recipe: Any) -> tuple[Parts, Origin]:
    parts = parts_of(classifier("resnet10t", 1, 32))
    return parts, Origin("Classifier", recipe, "classifier/x", {"test/accuracy": 0.9871234})


def test_the_card_says_where_weights_come_from_and_nothing_of_the_machine() -> None:
    data = {"class_path": "genlab.data.ImageFolder", "init_args": {"root": "/home/me/birds"}}
    model = {"init_args": {"pretrained": "https://me:secret@host/x.pt?X-Signature=secret"}}
    track = {"loggers": [{"class_path": "comet", "init_args": {"api_key": "secret"}}]}
    text = card(*made(data=data, model=model, track=track), "timm", "MIT")
    assert "https://host/x.pt" in text
    assert "secret" not in text
    _, header, body = text.split("---\n", 2)
    assert yaml.safe_load(header)["license"] == "mit"
    assert yaml.safe_load(header)["library_name"] == "timm"
    assert "| test/accuracy | 0.987123 |" in body
    assert "local-dir:DIR" in body
    assert "/home/me" not in text
    assert "birds" in text
    assert yaml.safe_load(body.partition("```yaml\n")[2].partition("```")[0])["data"]


def test_the_card_names_the_repository_and_an_unstated_licence() -> None:
    text = card(*made(), "timm", "other", "me/net")
    assert "hf-hub:me/net" in text
    assert "DIR" not in text
    assert yaml.safe_load(text.split("---\n")[1])["license_name"] == "not-stated"
