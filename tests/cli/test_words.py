"""The command line as a user meets it: quick answers, and errors in three lines."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from genlab import runs
from genlab.cli import join_pairs
from genlab.errors import RunError
from tests.conftest import Here, Shell

HEAVY = ("torch", "lightning", "timm", "torchvision", "wandb", "jsonargparse", "sklearn", "numpy")


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["ls"],
        ["ls", "vae"],
        ["show", "vae/digits"],
        ["fit", "--help"],
        ["explain", "SimCLR"],
    ],
)
def test_light_commands_import_nothing_heavy(words: list[str]) -> None:
    program = (
        "import sys, genlab.cli\n"
        f"try: genlab.cli.main({words!r})\n"
        "except SystemExit as e: assert not e.code, e.code\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["vae/digit"], ["genlab: no recipe vae/digit", "did you mean vae/digits"]),
        (["vae/digits", "latent_dim=3"], ["unknown key latent_dim", "mean model.latent_dim?"]),
        (["vae/digits", "model.latent=3"], ["model.latent", "did you mean latent_dim?"]),
        (["vae/digits", "model.lr"], ["model.lr has no value", "key=value: model.lr=VALUE"]),
        (["empty.yaml"], ["genlab: the recipe is empty", "empty.yaml"]),
    ],
)
def test_fit_refuses_misspelt_words_before_anything_heavy_is_imported(
    words: list[str], said: list[str], tmp_path: Path
) -> None:
    (tmp_path / "empty.yaml").touch()
    program = (
        "import sys, genlab.cli\n"
        f"try: genlab.cli.main(['fit', *{words!r}])\n"
        "except SystemExit as e: assert e.code == 2, e.code\n"
        f"assert not [m for m in {HEAVY!r} if m in sys.modules]"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                          cwd=tmp_path, env=os.environ | {"PYTHONPATH": os.getcwd()})  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert all(one in done.stderr for one in said), done.stderr
    assert len(done.stderr.splitlines()) <= 3


def test_cp_copies_a_recipe_that_runs_from_anywhere(here: Here, tmp_path: Path) -> None:
    out, _ = here("cp", "vae/digits", "mine.yaml")
    assert "mine.yaml" in out
    here("show", "mine.yaml")
    _, err = here("cp", "vae/digits", "mine.yaml", code=2)
    assert "exists" in err


def test_option_forms_are_one() -> None:
    assert join_pairs(["r", "--model.lr", "1", "--data.x=2", "a=b"]) == [
        "r",
        "model.lr=1",
        "data.x=2",
        "a=b",
    ]


LIGHT = [
    (["fti"], ["fti", "fit"]),
    (["fit"], ["recipe"]),
    (["fit", "vae/digts"], ["vae/digts", "vae/digits"]),
    (["fit", "vae/digits", "model.latent_dims=3"], ["latent_dims", "command line", "latent_dim"]),
    (["fit", "vae/digits", "data.batchsize=3"], ["batchsize", "batch_size"]),
    (["fit", "vae/digits", "trainr.max_epochs=3"], ["trainr", "trainer"]),
    (["fit", "vae/digits", "model={}"], ["model={} changes nothing", "model.KEY=VALUE"]),
    (["fit", "vae/digits", "model..lr=3"], ["key 'model..lr' has an empty part", "command line"]),
    (["fit", "vae/digits", "model=VEA"], ["VEA", "VAE"]),
    (["fit", "--resume", "nowhere"], ["nowhere"]),
    (["fit", "--bogus", "vae/digits"], ["bogus"]),
    (["submit", "vae/digits", "--partitoin", "main"], ["--partitoin", "--partition"]),
    (["submit", "vae/digits", "--node", "2"], ["--node", "--nodes"]),
    (["sync", "--runs-in=--", "--dry-run"], ["--runs-in=--", "no value"]),
    (["predict", "nowhere", "--out=--"], ["--out=--", "no value"]),
    (["replay", "nowhere", " "], ["' '"]),
    (["evaluate", "wgan_gp/digits"], ["no run of wgan_gp/digits yet: genlab fit wgan_gp/digits"]),
    (["compare", "glow/mnist"], ["no run of glow/mnist yet: genlab fit glow/mnist"]),
    (["fit", "--resume", "vae/digits"], ["no run of vae/digits yet: genlab fit vae/digits"]),
    (["replay", "vae/digits"], ["no run of vae/digits yet: genlab fit vae/digits"]),
    (["sample", "nowhere.ckpt"], ["nowhere.ckpt"]),
    (["sample", "nowhere"], ["nowhere"]),
    (["ls", "qqqq"], ["qqqq"]),
    (["show", "nope"], ["nope"]),
]


@pytest.mark.parametrize(("words", "parts"), LIGHT, ids=lambda v: " ".join(v))
def test_wrong_words_cost_three_lines_and_leave_nothing(
    here: Here, words: list[str], parts: list[str]
) -> None:
    assert_refused(here, words, parts)


HEAVIER = [
    (["model.latent_dim=0"], ["latent_dim", "0"]),
    (["model.latent_dim=abc"], ["latent_dim", "int", "abc"]),
    (["data.batch_size=1.5"], ["batch_size", "int"]),
    (["data.batch_size=100000"], ["batch_size", "100000"]),
    (["data.batch_size=0"], ["batch_size", "0"]),
    (["trainer.max_epoch=3"], ["max_epoch", "max_epochs"]),
    (["trainer.max_epochs=-3"], ["trainer.max_epochs must be", "in the command line, trainer.max"]),
    (
        ["track.nonfinite_limit=0"],
        ["track.nonfinite_limit must be", "in the command line, track.nonfinite_limit"],
    ),
    (["trainer.max_epochs=x"], ["max_epochs", "int", "x"]),
    (["trainer.callbacks=[Pictres]"], ["Pictres", "Pictures"]),
    (
        [
            "trainer.callbacks=[{class_path: EarlyStopping, init_args: {monitor: val/loss}}]",
            "data.val_size=0",
        ],
        ["EarlyStopping requires validation images", "in the command line, data.val_size"],
    ),
    (["checkpoint.mode=up"], ["mode", "up"]),
    (["checkpoint.monitr=x"], ["monitr", "monitor"]),
    (["track.wandb=maybe"], ["wandb", "maybe"]),
    (["model.optimizer.name=adan2"], ["adan2", "adan"]),
    (["model.optimizer.lrr=1"], ["lrr"]),
    (["model.lr=x"], ["optimizer.lr must be a number >= 0, got 'x'", "in the command line"]),
    (
        ["trainer.callbacks=[{class_path: EMAWeights, init_args: {decay: 2}}]"],
        ["EMAWeights.decay must be in [0, 1), got 2.0", "in the command line, trainer.callbacks"],
    ),
    (["model.likelihood=bernouli"], ["bernouli", "bernoulli"]),
    (["data=MNIST", "data.root=nothing", "data.download=false"], ["nothing", "MNIST"]),
    (["data=ImageFolder", "data.root=nothing"], ["nothing"]),
]


@pytest.mark.parametrize(("words", "parts"), HEAVIER, ids=lambda v: " ".join(v))
def test_wrong_values_cost_three_lines_and_leave_nothing(
    here: Here, words: list[str], parts: list[str]
) -> None:
    assert_refused(here, ["fit", "vae/digits", *words], parts)


def assert_refused(here: Shell, words: list[str], parts: list[str]) -> None:
    out, err = here(*words, code=2)
    assert not out
    assert len(err.strip().splitlines()) <= 3, err
    assert "Traceback" not in err
    for part in parts:
        assert part in err, err
    assert not list(here.folder.iterdir()), list(here.folder.iterdir())


def test_weights_that_are_no_run_are_refused_with_the_way_to_measure_them(here: Here) -> None:
    torch.save({"fc.weight": torch.zeros(2, 2)}, here.folder / "net.pth")
    (here.folder / "judge.yaml").write_text("config: classifier/digits\n")
    half = ["classifier/digits", "model.encoder=resnet18", "model.pretrained=net.pth"]
    way = "with model.head=file and model.pretrained=FILE in it"
    for words, part in (
        (["test", *half], "add model.head=file"),
        (["test", "net.pth"], "genlab test RECIPE model.encoder=NAME model.pretrained=FILE"),
        (["test", "judge.yaml"], way),
        (["sample", "judge.yaml"], way),
    ):
        _, err = here(*words, code=2)
        assert part in err, err
        assert len(err.splitlines()) <= 3, err


@pytest.mark.skipif(os.name == "nt", reason="permissions")
def test_a_run_directory_that_cannot_be_made_is_said_in_a_line(here: Here) -> None:
    (here.folder / "file").write_text("")
    _, err = here("fit", "vae/digits", "track.runs=file/runs", "track.wandb=off", code=2)
    assert "track.runs" in err
    assert "Traceback" not in err


def test_print_config_prints_all_settings_and_runs_nothing(here: Here) -> None:
    out, _ = here("fit", "vae/digits", "model.latent_dim=3", "--print_config")
    assert "latent_dim: 3" in out
    assert "eval_batch_size" in out
    assert not list(here.folder.iterdir())


def test_the_installed_command_says_the_same(shell: Shell) -> None:
    out, err = shell.anew("fit", "vae/digits", "model.latent_dim=0", code=2)
    assert not out
    assert "latent_dim" in err
    assert "Traceback" not in err
    assert not list(shell.folder.iterdir())


def test_a_run_of_nothing_is_refused(here: Here) -> None:
    _, err = here("fit", "classifier/digits", "trainer.max_epochs=0", code=2)
    assert "trains nothing" in err
    assert not (here.folder / "runs").exists()


def test_a_recipes_name_means_its_newest_usable_run(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        good, dead = (runs.make(tmp_path / "runs" / "a" / "b" / name) for name in ("one", "two"))
        for run in (good, dead):
            (run / "recipe.yaml").write_text("{}")
        with zipfile.ZipFile(good / "checkpoints" / "last.ckpt", "w") as archive:
            archive.writestr("data", "x")
        (good / "metrics.json").write_text("{}")  # a run that has ended
        assert runs.checkpoint("a/b").parent.parent.name == "one"
        (good / "run.json").write_text('{"failed": "loss of step 3 is not finite (nan)"}')
        with pytest.raises(RunError, match=r"no finished run .*; the newest run is not finished"):
            runs.checkpoint("a/b")
        with pytest.raises(RunError, match="two has no whole checkpoint"):
            runs.checkpoint(dead)
        with pytest.raises(RunError, match="did you mean a/b"):
            runs.checkpoint("a/bb")


def test_crossval_owns_the_folds(here: Here) -> None:
    _, err = here("crossval", "classifier/digits", "data.folds=3", code=2)
    assert "use --folds" in err


@pytest.mark.parametrize("key", ["encoder", "pretrained_options", "lr", "nosuch"])
def test_a_refusal_quotes_an_address_without_credentials(here: Here, key: str) -> None:
    word = f"model.{key}=https://me:SEC,RET@host/w.pth?token=SECRET"
    _, err = here("fit", "classifier/digits", word, code=2)
    assert ("https://host/w.pth" in err) == (key != "nosuch")
    assert "RET" not in err
