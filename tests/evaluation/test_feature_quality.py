"""Figures of features: right about good, useless and collapsed ones; a picture with a legend."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn

from genlab.data import Digits
from genlab.drawing.charts import save
from genlab.evaluation import probes, representation, scatter, scatter_plot
from genlab.evaluation.probes import few_shot
from genlab.evaluation.scatter_plot import project
from genlab.metrics import Bank, LiDAR, rankme
from tests.conftest import Here
from tests.fake_data import digits


class Features(nn.Module):
    """A method by its forward: pixels, one constant, or noise that knows nothing of the image."""

    device = torch.device("cpu")

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, image: Tensor) -> Tensor:
        if self.kind == "noise":
            return torch.randn(len(image), 16)
        flat = image.flatten(1)
        return flat if self.kind == "pixels" else torch.ones_like(flat)


def figures(kind: str, **options: Any) -> dict[str, Any]:
    data = Digits(batch_size=64, val_size=200, **options)
    return representation(Features(kind), data)[0]


def test_pixels_of_digits_are_good_features() -> None:
    found = figures("pixels")
    assert found["test/knn_top1"] > 0.96
    assert found["test/linear_top1"] > 0.94
    assert found["test/fewshot_1_top1"] < found["test/fewshot_5_top1"] < found["test/linear_top1"]
    assert found["test/fewshot_5_sd"] > 0
    assert found["test/knn_bank"] == found["test/linear_images"] == 1297
    assert (found["test/knn_k"], found["test/knn_temperature"]) == (20, 0.07)
    assert found["test/knn_distance"] == "cosine"
    assert "test/alignment" not in found  # there is no augmentation to make two views


def test_noise_is_at_chance_and_a_constant_has_collapsed() -> None:
    noise, constant = figures("noise"), figures("constant")
    for noun in ("knn_top1", "linear_top1", "fewshot_10_top1"):
        assert noise[f"test/{noun}"] < 0.2
    assert noise["test/effective_rank"] > 14
    assert constant["test/effective_rank"] == pytest.approx(1, abs=1e-3)
    assert constant["test/uniformity"] == pytest.approx(0, abs=1e-5)


def test_alignment_comes_from_the_data_augmentation() -> None:
    small, large = (figures("pixels", augment={"translate": n})["test/alignment"] for n in (1, 3))
    assert 0 < small < large
    again = figures("pixels", augment={"translate": 1})["test/alignment"]
    assert again == small


class Embedding(Features):
    """Pixels as features and as embeddings."""

    def embed(self, image: Tensor) -> Tensor:
        return image.flatten(1)


def test_embeddings_have_ranks_where_a_method_has_them() -> None:
    method = Embedding("pixels")
    data = Digits(batch_size=64, val_size=200, views="simclr", eval_batch_size=170)
    found = representation(method, data)[0]
    assert data.views is not None
    batches = [data.to_device(raw) for raw in data.bank_dataloader("test")]
    image = torch.cat([batch["image"] for batch in batches]).flatten(1)
    assert found["test/rankme"] == pytest.approx(float(rankme(image)))
    metric = LiDAR(64)
    for batch in batches:
        views = [data.views.fixed(batch, k).flatten(1) for k in range(10)]  # type: ignore[arg-type]
        metric.update(torch.stack(views, 1))
    assert found["test/lidar"] == pytest.approx(float(metric.compute()))
    assert (found["test/lidar_images"], found["test/lidar_views"]) == (300, 10)
    assert "test/lidar" not in representation(method, Digits(val_size=200))[0]
    assert "test/rankme" not in representation(Features("pixels"), data)[0]


def test_without_labels_only_geometry_is_left() -> None:
    data = Digits(batch_size=64, val_size=0)
    data.setup()
    for source, _ in data._parts.values():
        source.labels.fill_(-1)
    found, *_ = representation(Features("pixels"), data)
    assert set(found) == {"test/uniformity", "test/effective_rank", "test/feature_dim"}


def blobs(n: int, spread: float, seed: int, width: int = 8) -> Bank:
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(n) % 3
    noise = torch.randn(n, width, generator=generator)
    return Bank(4 * F.one_hot(label, width) + spread * noise, label, torch.arange(n))


def test_the_probe_strength_is_chosen_on_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judged by what it has learned by heart the probe wants no penalty, else a strong one."""
    monkeypatch.setattr(probes, "STRENGTHS", (1e-5, 1.0))
    train, val, test = (blobs(n, 3.0, seed, 60) for seed, n in enumerate((60, 900, 900)))
    assert probes.linear_probe(train, train, test)["linear_strength"] == 1e-5
    found = probes.linear_probe(train, val, test)
    assert found["linear_strength"] == 1.0
    assert found["linear_top1"] > probes.linear_probe(train, train, test)["linear_top1"]
    assert probes.linear_probe(train, None, test)["linear_images"] == 54


def test_few_shot_is_perfect_on_separate_classes_and_repeats_itself() -> None:
    train, test = blobs(90, 0.01, 0), blobs(30, 0.01, 1)
    assert few_shot(train, test, [1])["fewshot_1_top1"] == 1
    assert {"fewshot_29_sd"} == {k for k in few_shot(train, test, [29, 30]) if k.endswith("_sd")}
    assert "fewshot_2_sd" not in few_shot(train, test, [2], draws=1)
    hard, asked = blobs(90, 4.0, 0), blobs(30, 4.0, 1)
    assert few_shot(hard, asked, [2, 9]) == few_shot(hard, asked, [2, 9])
    assert few_shot(hard, asked, [2], seed=1) != few_shot(hard, asked, [2])
    for wrong in (0, 31):
        with pytest.raises(ValueError, match="shots"):
            few_shot(hard, asked, [wrong])


def test_principal_components_keep_the_two_longest_axes() -> None:
    x = torch.randn(200, 5) * torch.tensor([1.0, 9.0, 0.1, 5.0, 0.1])
    points, label, how = project(Bank(x, torch.zeros(200).long(), torch.arange(200)))
    assert points.std(0) == pytest.approx([9, 5], rel=0.2)
    assert len(label) == 200
    assert "of the variance" in how


@pytest.mark.parametrize("tsne", [False, True])
@pytest.mark.parametrize("classes", [3, 30])
def test_a_picture_shows_every_class_in_its_colour(
    tmp_path: Path, tsne: bool, classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles: list[str] = []

    def saved(chart: Figure, file: Path) -> Path:
        titles.append(chart.axes[0].get_title())
        return save(chart, file)

    monkeypatch.setattr(scatter_plot, "save", saved)
    label = torch.arange(90) % classes
    bank = Bank(torch.randn(90, 4) + label[:, None], label, torch.arange(90))
    picture = np.asarray(Image.open(scatter(bank, tmp_path / "a" / "b.png", "title", tsne)))
    assert picture.shape[0] > 600
    assert len(np.unique(picture.reshape(-1, picture.shape[-1]), axis=0)) > classes
    assert titles[0].endswith(", 90 images" if classes == 3 else "of 30 classes, a colour each")


def test_the_command_writes_figures_and_a_picture(here: Here, digits_run: Path) -> None:
    run = shutil.copytree(digits_run, here.folder / "run")
    out, _ = here("evaluate", str(run), "--json", "--shots", "2")
    found = json.loads(out)
    assert found["test/knn_top1"] > 0.5
    assert {"test/linear_top1", "test/fewshot_2_top1", "test/uniformity"} <= set(found)
    assert found["test/knn_k"] == 20
    assert (run / "pictures" / "embedding.png").stat().st_size > 10_000
    with Image.open(run / "pictures" / "retrieval_test.png") as picture:
        assert picture.size == (9 * (96 + 8 + 2) + 12, 18 + 8 * (96 + 8 + 2 + 14) + 14)
    here("evaluate", str(run), "--shots", "two", code=2)


def test_images_of_other_data_have_its_name(
    here: Here, digits_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles: list[str] = []

    def drawn(bank: Bank, file: Path, title: str, *_: Any, **__: Any) -> Path:
        titles.append(title)
        return file

    monkeypatch.setattr(scatter_plot, "scatter", drawn)
    run = shutil.copytree(digits_run, here.folder / "run")
    (run / "pictures" / "embedding.png").unlink(missing_ok=True)  # of another test's evaluation
    folder = here.folder / "my pens"
    for k, image in enumerate(digits(8)[0][:40]):
        file = folder / "ab"[k % 2] / f"{k:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
    words = ["data.class_path=ImageFolder", f"data.root={folder}", "data.test_size=0.5"]
    words += ["data.channels=1", "data.image_size=8", "data.val_size=0", "data.batch_size=8"]
    out, _ = here("evaluate", str(run), *words, "--shots", "1", "-k", "3")
    assert titles == ["vae/digits: test features of my pens"]
    assert "embedding-my_pens.png" in out
    assert (run / "pictures" / "retrieval_test-my_pens.png").is_file()
    assert not (run / "pictures" / "embedding.png").exists()


def test_tsne_keeps_neighbours_together() -> None:
    """Ten pairs of equal features, far from each other: each finds its own again."""
    x = 10 * torch.randn(10, 4).repeat(2, 1)
    points, label, how = project(Bank(x, torch.arange(20) % 10, torch.arange(20)), tsne=True)
    near = np.square(points[:, None] - points[None]).sum(2) + 1e9 * np.eye(20)
    assert (label[near.argmin(1)] == label).mean() > 0.8
    assert "t-SNE" in how
