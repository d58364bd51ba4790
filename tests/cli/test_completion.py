"""Completion of the command line: the candidates, and the scripts in real shells."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from argparse import ArgumentParser
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import pytest

from genlab import recipes
from genlab.cli import COMMANDS, FROM_FILES
from genlab.cli.candidates import candidates, options
from genlab.describing import keys
from genlab.internals import python_parts
from tests.conftest import Here

GENLAB = f'genlab() {{ "{sys.executable}" -m genlab "$@"; }}\n'
BASH = (
    "source <(genlab completion bash)\n"
    'COMP_LINE="$1"; COMP_POINT=${#COMP_LINE}; _genlab; printf "%s\\n" "${COMPREPLY[@]}"'
)
ZSH = (
    'compdef() {}\ncompadd() { while [[ "$1" == -* ]]; do [[ "$1" == -S ]] && shift; shift; done;'
    ' print -rl -- "$@" }\n'
    'eval "$(genlab completion zsh)"\nwords=("${(@s: :)1}")\nCURRENT=$#words; _genlab'
)
FISH = (
    f'function genlab; "{sys.executable}" -m genlab $argv; end\n'
    "genlab completion fish | source\ncomplete -C $argv[1]"
)
SHELLS = {
    "bash": ["bash", "--norc", "-c", GENLAB + BASH, "bash"],
    "zsh": ["zsh", "-f", "-c", GENLAB + ZSH, "zsh"],
    "fish": ["fish", "--no-config", "-c", FISH],
}


@pytest.mark.parametrize(
    ("line", "some"),
    [
        ([""], ["fit", "explain", "completion"]),
        (["ev"], ["evaluate"]),
        (["fit", "vae/d"], ["vae/digits"]),
        (["fit", "vae/digits", "mo"], ["model.", "model="]),
        (["fit", "vae/digits", "model.la"], ["model.latent_dim="]),
        (["fit", "simclr/digits", "model.optimizer.s"], ["model.optimizer.schedule="]),
        (["fit", "fixmatch/svhn", "model.encoder_kwargs.v"], ["model.encoder_kwargs.variant="]),
        (["fit", "vae/digits", "data=FashionMNIST", "data.down"], ["data.download="]),
        (["fit", "model=Sim"], ["model=SimCLR", "model=SimSiam"]),
        (["fit", "vae/digits", "data.sampling="], ["data.sampling=uniform"]),
        (["fit", "vae/digits", "trainer.max_"], ["trainer.max_steps=", "trainer.max_epochs="]),
        (["fit", "vae/digits", "track.test_after_fit="], ["track.test_after_fit=true"]),
        (["fit", "--re"], ["--resume"]),
        (["embed", "--"], ["--split", "--trust"]),
        (["submit", "--par"], ["--partition"]),
        (["submit", "simclr/digits", "--then", "linear/d"], ["linear/digits"]),
        (["submit", "vae/digits", "--then", "simclr/digits", "model.temp"], ["model.temperature="]),
        (["explain", "EMAW"], ["EMAWeights"]),
        (["explain", "val/eff"], ["val/effective_rank"]),
        (["explain", "simclr/digits", "model.temp"], ["model.temperature"]),
        (["explain", "trainer.callbacks.EMA"], ["trainer.callbacks.EMAWeights"]),
        (["completion", "z"], ["zsh"]),
        (["fit", "vae/digits", "model.l"], ["model.lr=", "model.latent_dim="]),
        (["fit", "vae/digits", "--model.la"], ["--model.latent_dim="]),
        (["fit", "vae/digits", "--model.likelihood=b"], ["--model.likelihood=bernoulli"]),
        (["ls", "--family", "v"], ["vae", "vqvae"]),
        (["plan", "vae/digits", "--gpu", "a100-8"], ["a100-80", "a100-80-pcie"]),
        (["plan", "vae/digits", "data.batch"], ["data.batch_size="]),
        (["ls", "--sort", ""], ["name", "cost", "result"]),
        (["export", "RUN", "--format", ""], ["timm", "torch", "onnx"]),
        (["embed", "RUN", "--split", ""], ["train", "val", "test"]),
        (["fit", "fixmatch/digits", "model.rule=f"], ["model.rule=flexmatch"]),
        (["fit", "simclr/digits", "data.views="], ["data.views=simclr", "data.views=multicrop"]),
        (["fit", "vae/digits", "trainer.precision=b"], ["trainer.precision=bf16-mixed"]),
    ],
)  # fmt: skip
def test_candidates(line: list[str], some: list[str]) -> None:
    found = candidates(line)
    assert set(some) <= set(found)
    assert all(one.startswith(line[-1]) for one in found)


@pytest.mark.parametrize(
    "line",
    [["nothing", ""], ["fit", "vae/digits", "model.lat=x"], ["fit", "model.nothing.x"],
     ["fit", "nowhere/at_all", "model.optimizer.qq"], ["doctor", ""]],
)  # fmt: skip
def test_nothing_is_offered_where_nothing_fits(line: list[str]) -> None:
    assert candidates(line) == []


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("model.rule", "fixmatch pseudo_label uda flexmatch freematch softmatch"),
        ("model.optimizer.schedule", "constant cosine linear cosine_7_16 step onecycle"),
        ("data.views", "simclr byol simclr_cifar moco_v1 moco_v2 byol_cifar vicreg_cifar supcon "
         "multicrop dino ibot dinov2 lejepa wu mae simmim ijepa"),
    ],
)  # fmt: skip
def test_values_are_those_that_a_text_lists_and_no_keys(key: str, values: str) -> None:
    recipe = "simclr/digits" if key == "data.views" else "fixmatch/digits"
    found = candidates(["fit", recipe, f"{key}="])
    assert found == [f"{key}={one}" for one in values.split()]


def test_a_recipes_own_keys_are_offered_and_no_others() -> None:
    found = candidates(["fit", "vae/digits", "model."])
    assert "model.latent_dim=" in found
    assert "model.temperature=" not in found
    assert "model.temperature=" in candidates(["fit", "mine.yaml", "model."])


def test_every_recipe_is_offered() -> None:
    assert {*recipes.shipped()} <= {*candidates(["fit", ""])}


def test_options_are_those_of_the_parsers() -> None:
    for command, module in COMMANDS.items():
        parser = ArgumentParser()
        getattr(import_module(f"genlab.cli.{module}"), f"{command}_options")(parser)
        known = {name for name in python_parts.option_names(parser) if name.startswith("--")}
        trust = {"--trust"} if command in FROM_FILES else set()
        assert {*options(command)} == known | trust, command


def test_runs_are_offered(here: Here) -> None:
    run = Path("runs/vae/digits/20260101-000000-abcd")
    run.mkdir(parents=True)
    (run / "recipe.yaml").write_text("model: VAE\n")
    assert candidates(["fit", "--resume", "runs/v"]) == [str(run)]
    assert set(candidates(["evaluate", ""])) > {str(run), "vae/digits"}
    assert candidates(["show", "runs/"]) == [str(run)]
    assert "model.latent_dim=" in candidates(["evaluate", str(run), "model.lat"])


def test_a_name_that_is_not_printable_is_not_offered(here: Here) -> None:
    for name in ("two\nlines", "a\x1b[31mb", "fine"):
        run = here.folder / "runs" / name / "20260101-000000-abcd"
        run.mkdir(parents=True)
        (run / "recipe.yaml").write_text("model: VAE\n")
    assert candidates(["embed", "runs/"]) == ["runs/fine/20260101-000000-abcd"]


TYPED = r"""
genlab() {
    if [[ "$1" == completion ]]; then "$PYTHON" -m genlab "$@"; else printf '%s\n' "$@" >> got; fi
}
source <(genlab completion bash)
"""


def test_bash_inserts_a_name_and_never_a_command(tmp_path: Path) -> None:
    run = Path("runs", "vae", "it's $(touch PWNED) *;a&b`touch PWNED`", "20260101-000000-abcd")
    (tmp_path / run).mkdir(parents=True)
    (tmp_path / run / "recipe.yaml").write_text("model: VAE\n")
    (tmp_path / "rc").write_text(TYPED)
    ours, its = os.openpty()
    environment = dict(os.environ) | {"PYTHON": sys.executable, "TERM": "dumb"}
    with subprocess.Popen(
        ["bash", "--noprofile", "--rcfile", "rc", "-i"], stdin=its, stdout=its, stderr=its,
        cwd=tmp_path, env=environment, start_new_session=True,
    ):  # fmt: skip
        os.close(its)
        begun = str(run)[:24].replace("'", "\\'").replace(" ", "\\ ").replace("$(", "\\$\\(")
        for line in ("genlab embed runs/\t", f"genlab embed {begun}\t", "exit"):
            os.write(ours, f"{line}\n".encode())
        with suppress(OSError):  # Linux: its end is closed
            while os.read(ours, 4096):
                pass
    os.close(ours)
    assert (tmp_path / "got").read_text().splitlines() == ["embed", str(run)] * 2
    assert not list(tmp_path.rglob("PWNED"))


def test_every_key_that_is_offered_has_a_meaning() -> None:
    for group in keys.TOP:
        for one in candidates(["explain", "simclr/digits", f"{group}."]):
            assert keys.meanings(one.rstrip("."))


@pytest.mark.parametrize(
    "shell", ["bash", *(pytest.param(one, marks=pytest.mark.slow) for one in ("zsh", "fish"))]
)
def test_the_script_completes_in_a_real_shell(shell: str, tmp_path: Path) -> None:
    if not shutil.which(shell):
        pytest.skip(f"no {shell} here")

    def completed(line: str) -> list[str]:
        environment = dict(os.environ) | {"HOME": str(tmp_path)}
        done = subprocess.run([*SHELLS[shell], line], capture_output=True, text=True,
                              cwd=tmp_path, env=environment, check=True)  # fmt: skip
        assert not done.stderr
        return [one.partition("\t")[0] for one in done.stdout.split("\n") if one]

    assert completed("genlab fit nice/d") == ["nice/digits"]
    prefix = "" if shell == "bash" else "model="  # bash completes what follows the sign
    assert completed("genlab fit model=SimC") == [f"{prefix}SimCLR"]
    assert "simclr/digits" in completed("genlab show ")


def test_completion_is_quick_and_loads_no_torch() -> None:
    program = (
        "import sys, time, genlab.cli\n"
        "genlab.cli.run(['completion', 'words'])\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
        "print(time.process_time())"
    )
    line = "fit\nsimclr/digits\nmodel.optimizer.s\n."
    took = list[float]()
    while not took or (len(took) < 3 and min(took) > 0.5):
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True,
            env=dict(os.environ) | {"GENLAB_COMPLETE": line},
        )  # fmt: skip
        *words, seconds = done.stdout.split()
        assert "model.optimizer.schedule=" in words
        took.append(float(seconds))
    assert min(took) < 0.5
