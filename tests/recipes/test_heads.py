"""Heads of recipes: strict facts that no run reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from genlab import recipes
from genlab.recipes.heads import Head, Paper, Result
from tests.conftest import Here

HEAD = """\
title: "VAE: a test"
paper:
- {name: Kingma & Welling 2013, url: 'https://arxiv.org/abs/1312.6114', notes: section 2}
aims: little
published: 92.6 %
measured:
- {metric: test/neg_elbo, value: 24.5, unit: nats, spread: 0.25, seeds: [0, 1], date: 2026-11}
cost: 13 CPU seconds
run: genlab fit mine
data: DIR/train/CLASS/*
notes: [one, two]
"""
BODY = "# of my own\ndata: Digits\nmodel: {class_path: VAE, init_args: {latent_dim: 4}}\n"


def write(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_a_head_is_read_and_nothing_else_reads_it(tmp_path: Path) -> None:
    file = write(tmp_path, f"{HEAD}---\n{BODY}")
    head = recipes.head(file)
    assert head == Head(
        "VAE: a test",
        (Paper("Kingma & Welling 2013", "https://arxiv.org/abs/1312.6114", "section 2"),),
        "little", "92.6 %",
        (Result("test/neg_elbo", 24.5, "nats", 0.25, (0, 1), date="2026-11"),),
        "13 CPU seconds", "genlab fit mine", "DIR/train/CLASS/*", ("one", "two"),
    )  # fmt: skip
    plain = write(tmp_path, BODY, "plain.yaml")
    assert recipes.read(file) == recipes.read(plain)
    with_head, without = recipes.resolve([file]), recipes.resolve([plain])
    assert with_head.config == without.config
    assert recipes.dump(with_head).partition("\n")[2] in recipes.dump(without)
    assert "title" not in recipes.dump(with_head)


@pytest.mark.parametrize(
    ("command", "own"),
    [
        ("", True),
        ("genlab fit mine", True),
        ("genlab fit mine data.eval_batch_size=500 trainer.limit_test_batches=2", True),
        ("genlab evaluate mine data.eval_batch_size=500", True),
        ("genlab fit mine trainer.max_steps=250", False),
        ("genlab fit mine data.eval_batch_size=500 model.width=32", False),
    ],
)
def test_a_result_on_part_of_the_test_set_is_of_the_recipe_as_it_is(
    command: str, own: bool
) -> None:
    assert Result("test/loss", 1.0, command=command).own == own


def test_heads_of_bases_overlays_and_runs_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, f"{HEAD}---\n{BODY}", "base.yaml")
    child = write(tmp_path, "title: child\n---\nconfig: base.yaml\nmodel: {latent_dim: 2}\n")
    over = write(tmp_path, "title: overlay\n---\nmodel: {beta: 2}\n", "over.yaml")
    (tmp_path / "run").mkdir()
    write(tmp_path / "run", f"title: run\n---\n{BODY}", "recipe.yaml")
    found = recipes.resolve([child, over]).config
    assert found["model"]["init_args"] == {"latent_dim": 2, "beta": 2}
    assert set(found) == {"data", "model"}
    assert recipes.head(child).title == "child"
    assert set(recipes.of_run(tmp_path / "run").config) == {"data", "model"}


@pytest.mark.parametrize("text", ["", "---\n", "# one\n\n---\n", "%YAML 1.1\n---\n"])
def test_one_document_has_no_head(tmp_path: Path, text: str) -> None:
    file = write(tmp_path, text + BODY)
    assert recipes.split(text + BODY)[0] == ""
    assert set(recipes.read(file)) == {"data", "model"}
    assert recipes.head(file).title == (recipes.header(text + BODY).splitlines() or [""])[0]


BOMB = "&a [x, x]\n" + "\n".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in zip("abcdefg", "bcdefgh", strict=False)
)
WRONG = {
    "unknown": ("titel: x\ntitle: x\n", ["unknown key titel", "title"]),
    "no title": ("cost: 1 s\n", ["title is missing"]),
    "no value": ("title: x\nmeasured: [{metric: loss}]\n", ["value is missing", "measured"]),
    "unknown inside": ("title: x\nmeasured: [{metric: a, valeu: 1}]\n", ["valeu", "value"]),
    "not a number": ("title: x\nmeasured: [{metric: a, value: '1'}]\n", ["'1' is not a number"]),
    "not finite": ("title: x\nmeasured: [{metric: a, value: .nan}]\n", ["nan is not a number"]),
    "true": ("title: x\nmeasured: [{metric: a, value: true}]\n", ["True is not a number"]),
    "ran": ("title: x\nmeasured: yes\n", ["'yes' is not a list", "not run"]),
    "seeds": ("title: x\nmeasured: [{metric: a, value: 1, seeds: [a]}]\n", ["seeds"]),
    "text": ("title: 3\n", ["3 is not text", "quotes"]),
    "lines": ('title: "a\\nb: 1"\n', ["not one line"]),
    "address": ("title: x\npaper: [{name: a, url: 'javascript:1'}]\n", ["not an address"]),
    "blanks": ("title: x\npaper: [{name: a, url: 'https://a b'}]\n", ["not an address"]),
    "brackets": ("title: x\npaper: [{name: a, url: 'https://a](b'}]\n", ["not an address"]),
    "empty": ("title: ''\n", ["title is missing"]),
    "no metric": ("title: x\nmeasured: [{metric: '', value: 1}]\n", ["metric is missing"]),
    "large": (f"title: x\nmeasured: [{{metric: a, value: 1{'0' * 400}}}]\n", ["too large"]),
    "larger": (f"title: x\nmeasured: [{{metric: a, value: 0x1{'0' * 9000}}}]\n", ["too large"]),
    "largest": (f"title: x\nmeasured: [{{metric: a, value: 1{'0' * 9000}}}]\n", ["not YAML"]),
    "spread": ("title: x\nmeasured: [{metric: a, value: 1, spread: -3}]\n", ["negative"]),
    "day": ("title: x\nmeasured: [{metric: a, value: 1, date: yesterday}]\n", ["not a date"]),
    "mark": (
        "title: x\nmeasured: [{metric: a, value: 1, fingerprint: zz}]\n",
        ["not a fingerprint"],
    ),
    "seeds twice": ("title: x\nmeasured: [{metric: a, value: 1, seeds: [3, 3]}]\n", ["different"]),
    "negative": ("title: x\nmeasured: [{metric: a, value: 1, seeds: [-1]}]\n", ["from 0"]),
    "papers": ("title: x\npaper: [a]\n", ["not a list of mappings"]),
    "a list": ("- 1\n", ["a mapping"]),
    "nothing": ("---\n", ["a mapping"]),
    "settings first": ("model: VAE\n", ["unknown key model"]),
    "twice": ("title: x\ntitle: y\n", ["twice", "line 2"]),
    "a tag": ("title: !!python/object/apply:os.system [ls]\n", ["not YAML", "line 1"]),
    "a date": ("title: 2026-11-29\n", ["date", "quotes"]),
    "aliases": (f"title: x\nnotes: {BOMB}\n", ["2,000 values"]),
    "many": ("title: x\nnotes: [" + "a," * 2000 + "]\n", ["2,000 values"]),
    "a third": ("title: x\n---\nmodel: VAE\n", ["more than two"]),
}


@pytest.mark.parametrize("kind", sorted(WRONG))
def test_a_wrong_head_is_refused(
    tmp_path: Path, kind: str, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genlab.recipes.files.MOST_VALUES", 2000)  # the check itself is as slow
    head, parts = WRONG[kind]
    file = write(tmp_path, f"{head}---\n{BODY}")
    commands = (["fit", str(file)], ["show", str(file)], ["cp", str(file), "copy.yaml"])
    for command in commands:
        _, said = here(*command, code=2)
        assert len(said.splitlines()) <= 3
        assert all(part in said for part in (*parts, "mine.yaml")), said
    assert [one.name for one in here.folder.iterdir()] == ["mine.yaml"]


def test_show_prints_the_head_and_cp_leaves_it_out(tmp_path: Path, here: Here) -> None:
    file = write(tmp_path, f"{HEAD}---\n{BODY}")
    out, _ = here("show", str(file))
    assert out.startswith("# VAE: a test\n# Paper:     Kingma")
    assert "test/neg_elbo 24.5 ± 0.25 nats; seeds 0, 1; 2026-11" in out
    write(tmp_path, out, "shown.yaml")
    assert recipes.resolve([tmp_path / "shown.yaml"]).config == recipes.resolve([file]).config
    here("cp", str(file), "copy.yaml")
    assert (here.folder / "copy.yaml").read_text() == f"# VAE: a test\n{BODY}"


def test_comments_are_a_header_still(tmp_path: Path, here: Here) -> None:
    file = write(tmp_path, f"# Mine\n# Cost:     little\n{BODY}")
    assert recipes.head(file) == Head("Mine", cost="little")
    out, _ = here("show", str(file))
    assert out.startswith("# Mine\n# Cost:     little\n")
    here("cp", str(file), "copy.yaml")
    assert (here.folder / "copy.yaml").read_text() == file.read_text()


def test_a_runs_files_and_the_printed_config_leave_the_head_out(
    digits_run: Path, here: Here
) -> None:
    assert recipes.head(recipes.find("vae/digits")).paper[0].name == "Kingma & Welling 2013"
    for file in ("recipe.yaml", "run.json"):
        assert "Kingma" not in (digits_run / file).read_text()
    assert set(recipes.read(digits_run / "recipe.yaml")) <= {*recipes.TOP_KEYS}
    import torch

    last = torch.load(digits_run / "checkpoints" / "last.ckpt", weights_only=True)
    assert "Kingma" not in str(last["genlab"])
    assert "Kingma" not in here("fit", "vae/digits", "--print_config")[0]


def test_a_users_recipe_with_a_head_trains_and_sweeps(tmp_path: Path, here: Here) -> None:
    file = write(tmp_path, f"{HEAD}---\nconfig: vae/digits\ntrainer: {{max_steps: 1}}\n")
    here("fit", str(file), "track.wandb=off")
    (run,) = here.runs()
    assert "title" not in (run / "recipe.yaml").read_text()
    out, _ = here("sweep", str(file), "seed_everything=3..4", "--dry-run")
    assert "little" not in out
