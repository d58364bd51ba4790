"""Every shipped recipe, three steps on small real data: it runs, and its losses are those on file.

A changed figure is a decision: note it in CHANGELOG.md under "Numeric changes" and renew the file
with ``python -m pytest tests/golden -m "slow or not slow" --renew``.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from torchvision import datasets

from genlab import recipes
from genlab.training.tracking.csv_log import CSVLog
from tests.conftest import Here
from tests.fake_data import write_all

FILE = Path(__file__).with_name("losses.json")
QUICK = ("digits", "two_moons", "eight_gaussians", "factor_shapes")  # of a recipe's data
LARGE = ("wrn_28_10", "resnet50", "vit_small", "vit_base", "knn/imagenet")
GAN = ["model.generator_kwargs.width=8", "model.critic_kwargs.width=8"]
PATCHES = ["data.patches=400", "data.held_out=40", "data.test_patches=40"]
SMALLER = {
    "dino/imagenet_vit_small": ["data.views.small.size=32"],  # whole patches of 64 px
    "dinov2/folder": ["data.image_size=98"],
    "dinov2/imagenet_vit_small": ["data.views.small.size=32"],
    "dinov2/imagenet100": ["data.views.small.size=32", "model.encoder_kwargs.depth=1"],
    "dinov2/stl10": ["model.encoder_kwargs.depth=1"],
    "lejepa/imagenet_vit_small": [  # whole patches of 14 px
        "data.image_size=56",
        "data.views={preset: lejepa, small: {size: 28}}",
    ],
    "glow/cifar10": ["model.width=16", "model.steps=2"],
    "realnvp/cifar10": ["model.width=8", "model.blocks=1"],
    "realnvp/mnist": ["model.width=8", "model.blocks=1"],
    "maf/bsds300": PATCHES,
    "nsf/bsds300": PATCHES,
    "realnvp/bsds300": PATCHES,
    "wgan_gp/cifar10": GAN,
    "wgan_gp/cifar10_sngan": GAN,
}  # days of work in full
for place in ("mnist", "mnist_conditional", "mnist_dit", "fashion_mnist", "cifar10_small"):
    SMALLER[f"flow_matching/{place}"] = ["model.solver_steps=1"]  # of samples, not of losses
for place in ("mnist", "mnist_conditional"):
    SMALLER[f"diffusion/{place}"] = ["model.sampler_steps=2"]
for place in ("flow_matching", "ffjord"):
    SMALLER[f"{place}/eight_gaussians"] = ["model.likelihood_steps=1", "data.held_out=100"]
FEW = ("fixmatch/", "vat/", "mean_teacher/", "m2/")  # methods of few labels
MASKED = {"mae": "decoder_depth", "simmim": "encoder_kwargs.depth", "ijepa": "predictor_depth"}
for method, depth in MASKED.items():  # one block each
    for place in ("cifar10", "stl10", "imagenet100", "imagenet_vit_base"):
        SMALLER[f"{method}/{place}"] = ["model.encoder_kwargs.depth=1", f"model.{depth}=1"]
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def small_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_all(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def without_checksums(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torchvision reads STL-10 and SVHN only with the original's."""
    for kind in (datasets.STL10, datasets.SVHN):
        monkeypatch.setattr(kind, "_check_integrity", lambda self: True)


def words(name: str, root: Path) -> list[str]:
    """Three steps of 16 images (large networks 4), and one batch of test."""
    data = recipes.resolve([name]).config["data"]["class_path"].rpartition(".")[2]
    batch = 4 if name.endswith(LARGE) else 16
    chosen = [f"data.batch_size={batch}", "data.val_size=20", "data.eval_batch_size=20"]
    places = {"Digits": [], "ImageFolder": [f"data.root={root}/pictures", "data.image_size=64"]}
    chosen += places.get(data, [f"data.root={root}"])
    if name.endswith("wrn_28_10"):
        chosen += ["model.encoder=wrn_10_1"]  # the same module, 500 times smaller
    chosen += ["trainer.precision=32-true"]  # bf16 differs from processor to processor
    chosen += ["trainer.max_steps=3", "trainer.log_every_n_steps=1", "trainer.limit_test_batches=1"]
    chosen += ["trainer.accelerator=cpu", "trainer.val_check_interval=1.0", "track.wandb=off"]
    if name.endswith("percent"):
        chosen += ["data.limit=0.5"]  # 1 % of the small data is no batch
    if name.startswith(FEW):
        chosen += ["data.labels=40"]
        wide = recipes.resolve([name]).config["model"]["init_args"]["encoder"] == "wrn_28_2"
        chosen += ["model.encoder=wrn_10_1"] if wide else []
    chosen += SMALLER.get(name, [])
    if name.startswith("hierarchical_vae/"):
        chosen += ["model.iwae_samples=3"]
    if name.startswith("vae/"):
        chosen += ["model.iwae_samples=3", "model.iw_start_step=2"]
    return chosen


def pretrained(here: Here, name: str, root: Path) -> list[str]:
    """A recipe that leaves its encoder open starts from a classifier of the same data."""
    config = recipes.resolve([name]).config
    if config["model"].get("init_args", {}).get("encoder", "") is not None:
        return ["model.pretrained=false"] if "pretrained" in config["model"]["init_args"] else []
    data = config["data"]["class_path"]
    here("fit", "classifier/digits", f"data={data}", *words(name, root))
    return [f"model.pretrained={here.runs()[0]}"]


def losses_of(here: Here, name: str, root: Path) -> list[float]:
    if name.startswith(("vq_prior/", "masked_prior/")):
        here("fit", f"vqvae/{name.partition('/')[2]}", *words(name, root))
    here("fit", name, *words(name, root), *pretrained(here, name, root))
    run = next(
        r for r in here.runs() if r.parent.relative_to(here.folder / "runs").as_posix() == name
    )
    rows = CSVLog(run / "metrics.csv").rows()
    losses = [float(row["train/loss"]) for row in rows if row["train/loss"]]
    assert json.loads((run / "metrics.json").read_text())["step"] == len(losses)
    return losses


NAMES = [  # those of large data with `slow`; .ci/run has them all
    pytest.param(name, marks=() if name.rpartition("/")[2].startswith(QUICK) else pytest.mark.slow)
    for name in sorted(recipes.shipped())
]


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_runs_and_its_first_losses_are_known(
    name: str, here: Here, small_root: Path, request: pytest.FixtureRequest
) -> None:
    found = losses_of(here, name, small_root)
    assert len(found) == 3
    golden = json.loads(FILE.read_text()) if FILE.exists() else {}
    if request.config.getoption("--renew"):
        golden[name] = [float(f"{loss:.6g}") for loss in found]
        FILE.write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n")
    assert found == pytest.approx(golden[name], rel=1e-3, abs=1e-4)  # a cosine may be near 0
