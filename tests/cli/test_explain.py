"""``explain``: what names mean, at once and without torch."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from genlab import recipes
from genlab.cli import TRAINING, run
from genlab.cli.arguments import SETTINGS
from genlab.describing import keys
from tests.conftest import Here
from tests.describing.test_keys import every_key

SECONDS = 0.5  # of a processor, for an answer


def seconds(*words: str) -> float:
    """Processor seconds of a command in a program of its own, the best of three."""
    program = (
        "import contextlib, sys, time, genlab.cli\nfrom genlab.errors import InputError\n"
        f"with contextlib.suppress(InputError): genlab.cli.run({['explain', *words]!r})\n"
        "print(time.process_time())"
    )
    took = list[float]()
    while not took or (len(took) < 3 and min(took) > SECONDS):
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
        took.append(float(done.stdout.splitlines()[-1]))
    return min(took)


@pytest.mark.parametrize(
    "words",
    [["ImageFolder"], ["fixmatch/digits", "model.encoder_kwargs.width"], ["train/loss"],
     ["linear_top1"]],
)  # fmt: skip
def test_an_answer_comes_at_once(words: list[str]) -> None:
    assert seconds(*words) < SECONDS


EVERY = """
import contextlib, json, os, sys, time
import genlab.cli.explain
from genlab.cli import run
start = time.process_time()  # of imports
took = {}
for words in json.load(sys.stdin):
    ends = os.pipe()
    if not os.fork():
        with contextlib.redirect_stdout(open(os.devnull, "w")):
            run(["explain", *words])
        os.write(ends[1], str(start + time.process_time()).encode())
        os._exit(0)
    os.wait()
    os.close(ends[1])
    took[" ".join(words)] = float(os.read(ends[0], 99))
    os.close(ends[0])
print(json.dumps(took))
"""


@pytest.mark.slow
def test_every_key_of_every_recipe_is_explained_at_once() -> None:
    asked = {key: [name, key] for name in recipes.shipped()
             for key in every_key(recipes.resolve([name]).config)}  # fmt: skip
    alone = [[key] for key in asked]
    took: dict[str, float] = {}
    for _ in range(3):  # another program may have the processor
        left = [words for words in [*asked.values(), *alone]
                if took.get(" ".join(words), SECONDS) >= SECONDS]  # fmt: skip
        if left:
            done = subprocess.run([sys.executable, "-c", EVERY], input=json.dumps(left), text=True,
                                  capture_output=True, check=True)  # fmt: skip
            took |= json.loads(done.stdout)
    assert len(took) > 300
    assert max(took.values()) < SECONDS, max(took.items(), key=lambda one: one[1])


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("SimCLR", ["SimCLR, method, genlab/methods/simclr.py:", "paper: Chen", "arXiv:2002.05709",
                    "temperature: float = 0.5", "tau; divides",
                    "train/loss: nats; lower is better", "NT-Xent",
                    "recipes: simclr/cifar10"]),
        ("ImageFolder", ["ImageFolder, data,", "crop_ratio: float = 1.0", "batch_size: int = 128",
                         "order: global or shards = global"]),
        ("EMAWeights", ["EMAWeights, callback,", "decay: float = 0.999", "fixmatch/digits"]),
        ("Glow", ["val/bits_per_dim, test/bits_per_dim: bits; lower is better"]),  # of its base
        ("KNN", ["also: genlab.metrics.knn.KNN"]),
        ("Pictures", ["Pictures, callback,", "also: genlab.data.in_memory.Pictures"]),
        ("MissingDataError", ["MissingDataError, class, genlab/data/errors.py"]),
        ("optim.build", ["build, function, genlab/optim/building.py"]),
        ("LARS", ["LARS, optimiser, genlab/optim/lars.py"]),
        ("lightning.pytorch.callbacks.EarlyStopping", ["patience: int = 3"]),
    ],
)  # fmt: skip
def test_classes(name: str, says: list[str], here: Here) -> None:
    out, _ = here("explain", name)
    for text in says:
        assert text in out
    assert "``" not in out
    assert max(map(len, out.splitlines())) <= 100


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["model.optimizer"], ["LinearProbe: mapping or null = null", "keys of optimizer",
                               "lr_batch", "milestone_factor = 0.1"]),
        (["data.views"], ["keys of views", "preset = simclr", "strength", "solarise"]),
        (["trainer.max_steps"], ["Trainer: int = -1", "number of steps"]),
        (["trainer.precision"], ["or 16-mixed or bf16-true", " or null = null"]),
        (["data.strong.magnitude"], ["RandAugment: int = 10"]),
        (["model.pretrained_options.at_least"], ["load_backbone: float = 0.9"]),
        (["model.generator_kwargs.width"], ["networks.generator", "width (of the largest map)"]),
        (["model.optimizer.div_factor"], ["build = 25.0", "the peak divided by the first lr"]),
        (["LARS.trust_coefficient"], ["LARS: float = 0.001", "eta; length of an update"]),
        (["byol/cifar10", "model.optimizer.trust_coefficient"], ["LARS: float = 0.001"]),
        (["trainer.callbacks"], ["EMAWeights: Average every trained weight"]),
        (["model"], ["SimCLR: Contrastive learning with in-batch negatives"]),
        (["track"], ["wandb: auto or online or offline or off = auto"]),
        (["vae/mnist", "model.lr"], ["model.optimizer.lr", "in vae/mnist: 0.005, set in recipes/"]),
        (["model.lr", "--recipe", "vae/mnist"], ["in vae/mnist: 0.005, set in recipes/vae/"]),
        (["byol/digits", "model.head_norm"], ["in byol/digits: not set; the default is batch"]),
        (["lr_batch"], ["model.optimizer.lr_batch"]),
        (["EMAWeights.decay"], ["float = 0.999"]),
        (["val/effective_rank"], ["val/effective_rank, metric on validation data", "CollapseAlarm",
                                  "directions; higher is better", "exp(-sum_i p_i log p_i)"]),
        (["mask_rate"], ["train/mask_rate, metric during training", "FixMatch"]),
        (["metrics.csv"], ["metrics.csv, file of a run", "written by the trainer", "read by"]),
        (["runs/a/b/c/pictures/film.gif"], ["pictures/film.<format>, file", "written by Film"]),
        (["nonfinite/"], ["nonfinite/, folder of a run", "genlab replay"]),
        (["fingerprint"], ["key of a run's run.json", "versions of torch and timm"]),
        (["step"], ["step, metric", "number of the optimiser step"]),
        (["best.ckpt"], ["checkpoints/best.ckpt, file of a run"]),
        (["film.gif"], ["pictures/film.<format>, file of a run"]),
        (["samples-00000010.png"], ["pictures/samples-<step>.png, file of a run"]),
        (["fid"], ["judge/fid_<features>, metric", "Frechet distance"]),
        (["fid_infinity"], ["judge/fid_infinity_<features>, metric", "Frechet distance at infin",
                            "10 for each number of the features"]),
        (["copying"], ["judge/copying_<features>, metric"]),
        (["authentic"], ["judge/authentic_<features>, metric"]),
        (["quantiser"], ["quantizer, function", "quantizer_factory.py"]),
        (["flow_matching/digits", "model.network"], ["dit"]),
        (["linear_top1"], ["test/linear_top1, metric on test data"]),
        (["take"], ["model.pretrained_options.take", "ema"]),
        (["model.lr=3"], ["model.optimizer.lr", "peak learning rate"]),
        (["fit"], ["fit, command, genlab/cli/fit.py:", "Train a recipe", "genlab fit RECIPE",
                   "--resume"]),
        (["sample"], ["sample, command,", "genlab sample | reconstruct", "--label"]),
        (["resnet18"], ["encoder: model.encoder=resnet18", "timm/models/resnet.py:", "ResNet-18"]),
        (["wrn_28_2"], ["encoder: model.encoder=wrn_28_2", "WideResNet, genlab/networks/"]),
        (["Trainer"], ["accelerator: "]),
        (["vae"], ["vae, family of recipes", "vae/digits: VAE (64-128-8 MLP)", "--family vae"]),
        (["vae/digits"], ["vae/digits, recipe, recipes/vae/digits.yaml", "genlab show vae/digits"]),
    ],
)  # fmt: skip
def test_keys_and_metrics(words: list[str], says: list[str], here: Here) -> None:
    out, _ = here("explain", *words)
    for text in says:
        assert text in out


def test_arguments_have_a_place_in_a_recipe_where_recipes_name_the_class(here: Here) -> None:
    assert "in a recipe data.NAME=VALUE" in here("explain", "ImageFolder")[0]
    for name in ("Column", "MissingDataError", "genlab.data.in_memory.Pictures"):
        assert ".NAME=VALUE" not in here("explain", name)[0]


def test_a_callback_of_the_trainer_has_its_own_arguments(here: Here) -> None:
    out, _ = here("explain", "fixmatch/digits", "trainer.callbacks.EMAWeights")
    assert "in fixmatch/digits: true, set in recipes/" in out
    assert "EMAWeights, callback, genlab/callbacks/ema_weights.py:" in out
    assert "decay: float = 0.999" in out
    assert "accelerator" not in out


def test_a_file_of_ones_own_is_explained_as_a_recipe(here: Here) -> None:
    (here.folder / "mine.yaml").write_text("title: Mine\n---\nconfig: vae/digits\n")
    assert "mine, recipe, mine.yaml\n  Mine\n" in here("explain", "mine.yaml")[0]


def test_an_optimisers_keys_are_those_of_the_recipes_and_defaults_those_that_hold(
    here: Here,
) -> None:
    assert "LARS" not in here("explain", "model.lr")[0]
    assert "keys of optimizer, genlab/optim/lars.py" in here("explain", "model.optimizer")[0]
    out, _ = here("explain", "simclr/digits", "model.optimizer")
    assert "keys of optimizer, genlab/optim/building.py" in out
    assert "lars.py" not in out
    lars, _ = here("explain", "simclr/cifar10", "model.optimizer")
    assert lars.index("lars.py") < lars.index("trust_coefficient")
    assert "  lr: float = 1.0" not in lars


def test_the_help_of_fit_names_every_group_and_explain(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for command in TRAINING:
        with pytest.raises(SystemExit):
            run([command, "--help"])
        shown = capsys.readouterr().out
        assert all(group in shown for group in recipes.TOP_KEYS)
        assert "genlab explain KEY" in shown
    assert {*keys.TOP} == {*recipes.TOP_KEYS}
    for word in re.findall(r"(\w+(?:\.\w+)*)=", SETTINGS):
        assert word in ("key", "model", "data") or keys.meanings(word)


def test_a_recipe_has_the_metrics_of_its_method(here: Here) -> None:
    out, _ = here("explain", "simclr/digits", "train/loss")
    assert "NT-Xent" in out
    assert "MoCo" not in out
    for recipe, key, owner in (
        ("glow/digits", "train/loss", "FlowMethod"),
        ("classifier/digits", "val/loss", "ClassReport"),
        ("cvae/mnist", "test/neg_elbo", "CVAE"), ("simclr/digits", "val/knn_top1", "KNN"),
        ("fixmatch/digits", "mask_rate", "FixMatch"),
        ("moco/mnist", "val/effective_rank", "CollapseAlarm"),
    ):  # fmt: skip
        out, _ = here("explain", recipe, key)
        assert [line.split(",")[0].strip() for line in out.splitlines() if ".py:" in line] == [
            owner
        ]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["val/efective_rank"], ["val/effective_rank"]),
        (["split.npz"], ["splits.npz"]),
        (["model.temperatur"], ["temperature", "every method"]),
        (["simclr/digits", "model.latent_dim"], ["SimCLR"]),
        (["simclr/digts", "model.lr"], ["simclr/digits"]),
        (["a", "b", "c"], ["one name"]),
        ([""], ["nothing is named", "SimCLR, model.lr"]),
        (["x" * 5000], ["nothing is named"]),
        (["a(b.c[d"], ["nothing is named"]),
        (["..", "--recipe", "vae/digits"], ["nothing is named .."]),
        (["model..lr"], ["unknown key model..lr"]),
        (["trainer.callbacks."], ["trainer.callbacks"]),
        (["lightning.pytorch.Nothing"], ["nothing is named"]),
        (["EMAWeights.decai"], ["decay"]),
        (["vae/digits", "SimCLR"], ["nothing is named SimCLR"]),
        (["moco/mnist", "val/loss"], ["MoCo does not log val/loss"]),
        (["fid_inf"], ["judge/fid_infinity_<features>"]),
        (["top1"], ["knn_top1"]),
        (["runs/nope"], ["there is no runs/nope", "genlab runs"]),
    ],
)
def test_refusals(words: list[str], says: list[str], here: Here) -> None:
    _, err = here("explain", *words, code=2)
    for text in says:
        assert text in err
    assert len(err.splitlines()) <= 3


@pytest.mark.parametrize(("name", "near"), [("SimCRL", "SimCLR"), ("EMAWeigths", "EMAWeights")])
def test_a_typo_is_told_with_the_nearest_name(name: str, near: str, here: Here) -> None:
    out, err = here("explain", name, code=2)
    assert not out
    assert near in err
    assert len(err.splitlines()) <= 3
