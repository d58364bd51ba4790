"""Recipes and command lines made wrong at random: refused in words, or they run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz import lines
from tests.fuzz.mutants import BOMB, mutant
from tests.fuzz.verdict import judge

BOMB_IN_A_STRING = (  # nine levels of nine
    "{a: &a [x,x,x,x,x,x,x,x,x], "
    + ", ".join(f"{n}: &{n} [{','.join(9 * ['*' + chr(ord(n) - 1)])}]" for n in "bcdefghi")
    + "}"
)
WRONG = {  # lines of a recipe: a part of what is said about them
    "1: 2": "unknown key 1",
    "null: 2": "None is not a key",
    "2024-01-01: x": "is not a key",
    "? [a, b]\n: 3": "a key must be a word",
    "model: {optimizer: {1: 2}}": "1",
    "model: &a {x: *a}": "aliases in a circle",
    BOMB: "aliases in a circle",
    "trainer: null": "trainer must be a mapping",
    "track: [1]": "track must be a mapping",
    "checkpoint: null": "checkpoint must be a mapping",
    "model+: {lr: 1}": "write model",
    "model: {optimizer+: {lr: 1}}": "appends to a list",
    "model: {optimizer: {lr: .nan}}": "optimizer.lr",
    "model: {lr: 1e300}": "optimizer.lr",
    "model: {latent_dim: null}": "model.latent_dim must be int, not null",
    "model: {latent_dim: 2024-01-01}": "put it in quotes",
    "model: {latent_dim: 2024-99-99}": "not YAML",
    "model: {latent_dim: !!int abc}": "not YAML",
    "model: {latent_dim: !!timestamp x}": "not YAML",
    "model: {latent_dim: !!map x}": "not YAML",
    "trainer: {callbacks: 3}": "not the name of a class",
    "trainer: {callbacks: [[Pictures]]}": "no callback",
    "trainer: {callbacks: [{class_path: [a]}]}": "no callback",
    "trainer: {callbacks: [OnlineProbe]}": "OnlineProbe cannot be used here",
    "trainer: {callbacks: [BackboneFinetuning]}": "BackboneFinetuning cannot be used here",
    "trainer: {callbacks: [LearningRateFinder]}": "LearningRateFinder cannot be used here",
    "trainer: {log_every_n_steps: 0}": "trainer.log_every_n_steps",
    "trainer: {val_check_interval: 0}": "trainer.val_check_interval",
    "trainer: {check_val_every_n_epoch: 0}": "trainer.check_val_every_n_epoch",
    "trainer: {accumulate_grad_batches: null}": "trainer.accumulate_grad_batches",
    "trainer: {limit_train_batches: 0}": "trainer.limit_train_batches",
    "trainer: {devices: 1000000000000}": "trainer.devices",
    "trainer: {num_nodes: 2}": "trainer.num_nodes",
    "trainer: {accelerator: tpu}": "torch_xla",
    "trainer: {barebones: true}": "trainer.barebones",
    "trainer: {max_time: {x: 1}}": "no unit x",
    "model: lightning.pytorch.demos.boring_classes.BoringModel": "demo of Lightning",
    "data: Images": "Images",
    "trainer: {accelerator: '&a {x: *a}'}": "aliases in a circle",
    f"model: {{latent_dim: '{BOMB_IN_A_STRING}'}}": "aliases in a circle",
    "model: {latent_dim: '!!timestamp x:'}": "cannot be read",
    "model: {latent_dim: '" + 2000 * "[" + ":'}": "nested too deeply",
}
MANY = f"trainer.callbacks+=[{', '.join(['Pictures'] * 40)}]"
LINES = {  # a command line: a part of what is said about it
    ("fit", "vae/digits", MANY, "model.latent=3"): "VAE has no argument latent",
    ("fit", "x" * 5000): "no recipe",
    ("sample", "x" * 5000): "is not a run",
    ("evaluate", "x", "-k", "0"): "-k 0 must be at least 1",
    ("evaluate", "x", "--shots", "0"): "--shots 0 must be at least 1",
    ("evaluate", "x", "--temperature", "nan"): "--temperature nan",
    ("sample", "x", "-n", "10000000000"): "-n 10000000000",
    ("interpolate", "x", "--steps", "1000000"): "--steps 1000000",
    ("sweep", "vae/digits", "model.lr=1e-3,1e-2", "--random", "0"): "--random 0",
    ("submit", "vae/digits", "--dry-run", "--time", "x"): "--time x",
    ("submit", "vae/digits", "--dry-run", "--after", "x;rm"): "--after x;rm",
    ("submit", "vae/digits", "--dry-run", "--array-of-seeds", "5-1"): "ends before it begins",
    ("pack", "--check", "missing"): "missing",
    ("show", "fifo"): "fifo",
    ("fit", "bytes.yaml"): "not UTF-8",
    ("ls", "x" * 5000): "x ... x",
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("text", WRONG, ids=[text[:40] for text in WRONG])
def test_a_wrong_recipe_is_refused_in_three_lines_and_writes_nothing(
    text: str, place: Path
) -> None:
    (place / "mine.yaml").write_text(f"config: vae/digits\n{text}\n")
    found = judge(["fit", "mine.yaml", "track.wandb=off"], place)
    assert (found.fault, found.code) == ("", 2), found.error
    assert WRONG[text] in found.error


@pytest.mark.parametrize("words", LINES, ids=[" ".join(words)[:40] for words in LINES])
def test_a_wrong_command_line_is_refused_in_three_lines_and_writes_nothing(
    words: tuple[str, ...], place: Path
) -> None:
    lines.lay_out(place)
    found = judge([*words], place)
    assert (found.fault, found.code) == ("", 2), found.error
    assert LINES[words] in found.error


def test_early_stopping_waits_for_the_first_validation(place: Path) -> None:
    stop = "trainer.callbacks=[{class_path: EarlyStopping, init_args: {monitor: val/loss}}]"
    found = judge(["fit", "vae/digits", "track.wandb=off", stop], place)
    assert (found.fault, found.code) == ("", 0), found.error
    assert len(list(place.glob("runs/**/metrics.json"))) == 1


@pytest.mark.parametrize("part", range(5))
def test_recipes_made_wrong_at_random(part: int, place: Path) -> None:
    for number in range(20 * part, 20 * part + 20):
        (place / "mutant.yaml").write_text(mutant(1, number), errors="surrogateescape")
        found = judge(["fit", "mutant.yaml", "track.wandb=off"], place)
        assert not found.fault, f"mutant {number}: {found.fault}\n{found.error[-2000:]}"


@pytest.mark.parametrize("part", range(5))
def test_command_lines_made_wrong_at_random(part: int, place: Path) -> None:
    lines.lay_out(place)
    for number in range(10 * part, 10 * part + 10):
        words = lines.line(1, number, "vae/digits")
        found = judge(words, place)
        assert not found.fault, f"{number}, {words}: {found.fault}\n{found.error[-2000:]}"
