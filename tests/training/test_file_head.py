"""A third-party classifier measured as plain PyTorch measures it, without a training."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import ResNet
from torchvision.models.resnet import BasicBlock

from genlab.recipes import Recipe
from genlab.training import file_head
from tests.conftest import Here

ADDRESS = "https://me:SECRET@host/net.pth?token=SECRET"
NAMES = ("cat", "dog", "fox")
SMALL = ("model.encoder=resnet18", "model.encoder_kwargs.layers=[1,1,1,1]", "model.head=file")
PIXELS = ("data=ImageFolder", "data.root=images", "data.image_size=32", "data.channels=3")
PLAIN = "model.encoder_kwargs.normalize={mean: [0, 0, 0], std: [1, 1, 1]}"
WORDS = ("finetune/cifar10", *PIXELS, "data.augment=null", *SMALL, PLAIN)
COUNT = 48

pytestmark = pytest.mark.filterwarnings("ignore:.*does not say which network")


@torch.no_grad()
def network() -> tuple[ResNet, Tensor]:
    """A network of torchvision's whose predictions are of all classes, and images: bytes."""
    torch.manual_seed(0)
    net = ResNet(BasicBlock, [1, 1, 1, 1], len(NAMES)).eval()
    image = torch.randint(256, (COUNT, 3, 1, 1)) * torch.rand(COUNT, 1, 32, 32)
    image = image.byte()
    net.fc.weight *= 100
    net.fc.bias -= net(image / 255).mean(0)
    return net, image


@pytest.fixture
def folder(here: Here) -> tuple[Here, ResNet, Tensor, Tensor]:
    """A folder of images, ``net.pth``; the network, its images, and their labels."""
    net, image = network()
    with torch.no_grad():
        guess = net(image / 255).argmax(1)
    assert guess.bincount(minlength=3).min() > 4
    label = torch.where(torch.arange(COUNT) % 4 == 0, (guess + 1) % 3, guess)  # 75 % are right
    for number, (pixels, k) in enumerate(zip(image, label, strict=True)):
        for part in ("train", "test"):
            file = here.folder / "images" / part / NAMES[k] / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(file)
    torch.save(net.state_dict(), here.folder / "net.pth")
    return here, net, image, label


@torch.no_grad()
def plain(net: nn.Module, image: Tensor, label: Tensor) -> float:
    return float((net(image / 255).argmax(1) == label).float().mean())


Folder = tuple[Here, ResNet, Tensor, Tensor]


def test_accuracy_is_plain_pytorchs(folder: Folder) -> None:
    here, net, image, label = folder
    expected = plain(net, image, label)
    assert expected == pytest.approx(0.75)
    out, err = here("test", *WORDS, "model.pretrained=net.pth", "--json")
    found = json.loads(out)
    assert found["test/accuracy"] == pytest.approx(expected)
    assert found["parents"]["pretrained"]["file"] == str(here.folder / "net.pth")
    assert "net.pth: its 3 classes by number, not by name: label 0 is its first" in err
    assert not (here.folder / "runs").exists()
    out, _ = here("evaluate", *WORDS, "model.pretrained=net.pth", "--json")
    assert json.loads(out)["test/accuracy"] == pytest.approx(expected)


def error_of(err: str) -> list[str]:
    """The lines of the refusal, behind what was said of the weights."""
    lines = err.strip().splitlines()
    return lines[next(n for n, line in enumerate(lines) if line.startswith("genlab: ")) :]


def written(folder: Path, net: ResNet, names: list[str]) -> None:
    """The network with its classes in another order, in timm's layout with their names."""
    folder.mkdir()
    order = [NAMES.index(name) for name in names if name in NAMES] or [0, 1, 2]
    state = net.state_dict()
    state |= {key: state[key][order].contiguous() for key in ("fc.weight", "fc.bias")}
    save_file(state, folder / "model.safetensors")
    config: dict[str, Any] = {"architecture": "resnet18", "label_names": names}
    (folder / "config.json").write_text(json.dumps(config))


def test_classes_that_have_names_are_matched_by_them(folder: Folder) -> None:
    here, net, image, label = folder
    written(here.folder / "named", net, ["fox", "cat", "dog"])
    words = (*WORDS, "model.pretrained=named")
    out, err = here("test", *words, "--json")
    assert json.loads(out)["test/accuracy"] == pytest.approx(plain(net, image, label))
    assert "names its classes: labels are numbered by these 3, 'fox', 'cat', 'dog'" in err
    out, err = here("test", *words, "data.classes=null", "--json")  # by number, as asked: wrong
    assert json.loads(out)["test/accuracy"] < 0.5
    assert "its 3 classes by number, not by name" in err
    _, err = here("test", *words, "data.classes=[cat, dog, fox]", code=2)
    assert "data.classes differ from those of" in err
    assert "'fox', 'cat', 'dog'" in err
    written(here.folder / "others", net, ["ant", "bee", "cow"])
    _, err = here("test", *WORDS, "model.pretrained=others", code=2)
    assert "unknown classes 'cat', 'dog', 'fox'" in err
    assert "in others, data.classes" in err
    assert len(error_of(err)) <= 3


def test_a_recipe_of_a_file_is_a_judge(folder: Folder) -> None:
    here, net, image, label = folder
    written(here.folder / "named", net, ["fox", "cat", "dog"])
    recipe = {
        "config": "finetune/cifar10",
        "data": {"class_path": "ImageFolder", "root": "images", "image_size": 32, "channels": 3},
        "model": {
            "encoder": "resnet18",
            "encoder_kwargs": {"layers": [1, 1, 1, 1], "normalize": {"mean": [0.0], "std": [1.0]}},
            "pretrained": "named",
            "head": "file",
        },
    }
    (here.folder / "net.yaml").write_text(json.dumps(recipe))
    out, _ = here("test", "net.yaml", "data.augment=null", "--json")
    assert json.loads(out)["test/accuracy"] == pytest.approx(plain(net, image, label))
    short = ("trainer.max_steps=1", "track.test_after_fit=false", "data.batch_size=8")
    here("fit", "cvae/digits", *PIXELS, *short, "data.val_size=8")
    (run,) = here.runs()
    words = ("--judge", "net.yaml", "--samples", "30", "--json")
    out, err = here("evaluate", str(run), *words)
    found = json.loads(out)
    assert found["judge/accuracy_real"] == pytest.approx(plain(net, image, label))
    assert found["judge/network_sha256"] in err
    assert found["judge/features"] == "resnet18, 512 numbers: Classifier net.yaml"


def test_what_cannot_be_meant_is_refused(folder: Folder) -> None:
    here, *_ = folder
    kept = [word for word in WORDS if word != "model.head=file"]
    fit = (*kept, "model.pretrained=net.pth", "trainer.max_steps=1", "data.val_size=0")
    here("fit", *fit, "checkpoint.monitor=null", "track.test_after_fit=false", "data.batch_size=8")
    (run,) = here.runs()
    for word in ("model.pretrained=net.pth", "model.head=file"):
        _, err = here("test", str(run), word, code=2)
        assert "has no meaning for" in err
        assert "genlab test RECIPE" in err
    probe = ("linear/cifar10", *PIXELS, "data.augment=null", "model.pretrained=net.pth")
    _, err = here("test", *probe, "model.encoder=resnet18", "model.head=file", code=2)
    assert "LinearProbe has no argument head" in err
    _, err = here("test", *WORDS, "model.pretrained=net.pth", "data=CIFAR100", code=2)
    assert len(error_of(err)) <= 3
    _, err = here("test", *WORDS, code=2)
    assert "head=file requires pretrained" in err
    _, err = here("test", *WORDS, "model.pretrained=nowhere.pth", code=2)
    assert "nowhere.pth" in err


def test_runs_and_exports_say_their_classes(folder: Folder) -> None:
    here, *_ = folder
    words = [*WORDS, "model.pretrained=net.pth", "trainer.max_steps=1", "data.batch_size=8"]
    here("fit", *words, "data.val_size=8", "model.lr=0.01", "track.test_after_fit=false")
    (run,) = here.runs()
    here("export", str(run), "--out", "export")
    expected = json.loads(here("test", str(run), "--json")[0])["test/loss"]
    for source in (str(run), "export"):
        out, err = here("test", *WORDS, f"model.pretrained={source}", "--json")
        assert json.loads(out)["test/loss"] == pytest.approx(expected, rel=1e-5)
        assert "names its classes: labels are numbered by these 3, 'cat', 'dog', 'fox'" in err


def test_a_file_is_fine_tuned_from_its_own_classifier_and_resumed(folder: Folder) -> None:
    here, net, image, label = folder
    written(here.folder / "named", net, ["fox", "cat", "dog"])
    words = (*WORDS, "model.pretrained=named", "data.batch_size=8", "data.val_size=8")
    still = ("model.lr=0", "model.weight_decay=0", "model.optimizer.schedule=constant")
    here("fit", *words, *still, "trainer.max_steps=1", "model.freeze=all")
    (run,) = here.runs()
    final = json.loads((run / "metrics.json").read_text())
    assert final["test/accuracy"] == pytest.approx(plain(net, image, label))
    assert json.loads((run / "run.json").read_text())["classes"] == ["fox", "cat", "dog"]
    (here.folder / "named" / "model.safetensors").unlink()  # a run goes on from its own weights
    here("fit", "--resume", str(run), "trainer.max_steps=2")
    again = json.loads((run / "metrics.json").read_text())
    assert again["test/accuracy"] == pytest.approx(plain(net, image, label))
    assert again["step"] == 2


@pytest.mark.parametrize("names", [(), NAMES])
def test_the_address_of_a_file_is_said_without_credentials(
    names: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"head": "file", "pretrained": ADDRESS}
    method = SimpleNamespace(hparams={"num_classes": 3})
    file_head.say(Recipe("one", "", {"model": {"init_args": given}}), method, names)
    said = capsys.readouterr().err
    assert "https://host/net.pth" in said
    assert "SECRET" not in said
