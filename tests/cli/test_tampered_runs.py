"""Files of a run that somebody edited or a disk damaged: a reason, never a traceback or a wait."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import Here, Shell

FIT = (
    "fit", "vae/digits", "trainer.max_steps=4", "trainer.log_every_n_steps=2", "data.limit=120",
    "data.val_size=40", "data.batch_size=16", "checkpoint.every_n_steps=2", "track.wandb=off",
)  # fmt: skip
Change = Callable[[Path], Any]


@pytest.fixture(scope="module", autouse=True)
def own_seed() -> Iterator[None]:
    """Trainings in this process leave their seed in its environment; later tests have none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PL_GLOBAL_SEED", "0")  # so that it is taken back
        yield


def text(name: str, content: str | bytes) -> Change:
    """A file with other content."""
    data = content if isinstance(content, bytes) else content.encode()
    return lambda run: (run / name).write_bytes(data)


def edited(name: str, **changes: Any) -> Change:
    """A JSON file with other values."""

    def change(run: Path) -> None:
        file = run / name
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return change


LINE = re.compile(rb"\n\d+")  # of a table: its step


def table(change: Callable[[bytes], bytes]) -> Change:
    """A metrics.csv with other bytes."""
    return lambda run: (run / "metrics.csv").write_bytes(change((run / "metrics.csv").read_bytes()))


def pipe(name: str) -> Change:
    """A pipe that nobody writes to in place of a file."""

    def change(run: Path) -> None:
        (run / name).unlink()
        os.mkfifo(run / name)

    return change


def part(name: str, value: Any) -> Change:
    """Checkpoints with another part; ``value`` may be made of the old one."""

    def change(run: Path) -> None:
        for file in (run / "checkpoints").glob("*.ckpt"):
            content = torch.load(file, weights_only=True)
            content[name] = value(content[name]) if callable(value) else value
            torch.save(content, file)

    return change


def nan(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key: value * float("nan") for key, value in state.items()}


# What is changed; words of `genlab compare` and of `genlab fit --resume`, None where they succeed.
FILES: dict[str, tuple[Change, str | None, str | None]] = {
    "csv: not UTF-8": (table(lambda b: b.replace(b"1,", b"\xff,", 1)), "damaged", "damaged"),
    "csv: byte order mark": (table(lambda b: b"\xef\xbb\xbf" + b), None, None),
    "csv: a word": (table(lambda b: b.replace(b".", b"x")), "is not a figure", None),
    "csv: a step": (table(lambda b: b.replace(b"\n1,", b"\nabc,", 1)), "is not a figure", None),
    "csv: long step": (table(lambda b: LINE.sub(b"\n" + b"1" * 5000, b, 1)), "line 2", None),
    "csv: no header": (table(lambda b: b.split(b"\n", 1)[1]), "no column step", "no column step"),
    "csv: a pipe": (pipe("metrics.csv"), "it is a pipe", "it is a pipe"),
    "csv: empty": (text("metrics.csv", ""), None, None),
    "metrics.json: a list": (text("metrics.json", "[]"), None, None),
    "metrics.json: step a word": (edited("metrics.json", step="x"), None, None),
    "metrics.json: step a list": (edited("metrics.json", step=[1]), None, None),
    "metrics.json: step infinite": (text("metrics.json", '{"step": Infinity}'), None, None),
    "metrics.json: huge": (text("metrics.json", f'{{"step": 9, "a": 1{"0" * 400}}}'), None, None),
    "metrics.json: deep": (text("metrics.json", "[" * 100_000), None, None),
    "run.json: starts a word": (edited("run.json", starts="x"), None, None),
    "run.json: history": (edited("run.json", history={"a": 1}), None, None),
    "run.json: slurm a list": (edited("run.json", slurm=[1]), None, None),
    "run.json: seed a word": (edited("run.json", seed="x"), None, None),
    "run.json: a pipe": (pipe("run.json"), None, "it is a pipe"),
    "recipe: empty": (text("recipe.yaml", ""), "is empty", "is empty"),
    "recipe: a list": (text("recipe.yaml", "- 1\n"), "mapping", "mapping"),
    "recipe: not UTF-8": (text("recipe.yaml", b"\xff\xfea"), "cannot read", "cannot read"),
    "recipe: no groups": (text("recipe.yaml", "model: 3\ncheckpoint: 5\n"), None, ""),
    "splits: torn": (text("splits.npz", "PK"), None, None),
    "splits: a pipe": (pipe("splits.npz"), None, "it is a pipe"),
    "checkpoint: weights": (part("state_dict", 3), None, "state_dict is a int"),
    "checkpoint: names": (part("state_dict", {1: 2}), None, "a weight is named 1"),
    "checkpoint: steps": (part("global_step", -5), None, "out of range"),
    "checkpoint: optimisers": (part("optimizer_states", [1]), None, "cannot be continued from"),
    "checkpoint: groups": (
        part("optimizer_states", [{"state": {}, "param_groups": [3]}]), None, "different number",
    ),
    "checkpoint: schedules": (part("lr_schedulers", "x"), None, "lr_schedulers is a str"),
    "checkpoint: loops": (part("loops", {"a": 1}), None, "cannot be continued from"),
    "checkpoint: callbacks": (
        part("callbacks", lambda old: dict.fromkeys(old, 3)), None, "cannot be continued from",
    ),
    "checkpoint: version": (part("pytorch-lightning_version", "x"), None, "Invalid version"),
    "checkpoint: hyper-parameters": (part("hyper_parameters", [1]), None, "hyper_parameters is a"),
    "checkpoint: recipe": (part("genlab", "x"), None, "genlab is a str"),
    "checkpoint: a pipe": (
        pipe("checkpoints/last.ckpt"), None, "damaged",
    ),
    "checkpoint: torn": (
        lambda run: [
            file.write_bytes(file.read_bytes()[:9000])
            for file in (run / "checkpoints").glob("*.ckpt")
        ], None, "damaged",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two runs."""
    shell = Shell(tmp_path_factory.mktemp("two"))
    for name, seed in (("a", 1), ("b", 2)):
        shell(*FIT, f"seed_everything={seed}", GENLAB_RUN_ID=name)
    return shell.folder / "runs"


def copied(two: Path, here: Here) -> Path:
    shutil.copytree(two, here.folder / "runs")
    return here.folder / "runs" / "vae" / "digits" / "a"


def said_of(here: Here, *words: str, code: int) -> str:
    """Standard output and error, of which at most three lines are a refusal."""
    out, err = here(*words, code=code)
    if code:
        assert err.startswith("genlab: ") or "\ngenlab: " in err, err
        assert len(err[err.index("genlab: ") :].strip().splitlines()) <= 3, err
    return out + err


@pytest.mark.parametrize("kind", FILES)
def test_a_damaged_run_is_left_out_or_refused(kind: str, two: Path, here: Here) -> None:
    run = copied(two, here)
    change, in_comparison, on_resume = FILES[kind]
    change(run)
    said = said_of(here, "compare", "vae/digits", code=0)
    assert "runs" in said
    assert ("left out: " in said) is (in_comparison is not None), said
    if in_comparison:
        assert any(word in said for word in in_comparison.split("|")), said
    words = ("fit", "--resume", str(run), "trainer.max_steps=6")
    said = said_of(here, *words, code=0 if on_resume is None else 2)
    assert (on_resume or "") in said


def test_nothing_is_compared_where_every_run_is_damaged(two: Path, here: Here) -> None:
    run = copied(two, here)
    for name in ("a", "b"):
        (run.parent / name / "recipe.yaml").write_text("- 1")
    assert "the files of all are damaged" in said_of(here, "compare", "vae/digits", code=2)


def test_figures_are_printed_where_no_image_can_be_written(two: Path, here: Here) -> None:
    run = copied(two, here)
    (run.parent / "compare.png").mkdir()
    said = said_of(here, "compare", "vae/digits", code=0)
    assert "test/neg_elbo" in said
    assert "compare.png is not written: it is a folder" in said
    (run / "pictures" / "embedding.png").mkdir()
    out, err = here("evaluate", str(run), "--json")
    assert json.loads(out)["test/effective_rank"] > 0
    assert "embedding.png is not written" in err


def test_weights_that_are_not_finite_are_not_measured_nor_exported(two: Path, here: Here) -> None:
    run = copied(two, here)
    part("state_dict", nan)(run)
    said = said_of(here, "evaluate", str(run), code=2)
    assert "holds weights that are not finite" in said
    assert "its training has diverged" in said
    assert said.count("\n") == 1


def test_a_damaged_file_of_a_continued_run_is_kept(two: Path, here: Here) -> None:
    run = copied(two, here)
    torn = {name: (run / name).read_bytes()[:-20] for name in ("run.json", "metrics.json")}
    for name, content in torn.items():
        (run / name).write_bytes(content)
    _, err = here("fit", "--resume", str(run), "trainer.max_steps=8")
    for name, content in torn.items():
        assert (run / f"{name}.damaged").read_bytes() == content
        assert err.count(f"{name} is damaged: it is written anew") == 1
        assert json.loads((run / name).read_text())
    _, err = here("fit", "--resume", str(run), "trainer.max_steps=10")
    assert "is damaged" not in err


def test_weights_that_have_grown_without_bound_give_words_and_no_figures(
    two: Path, here: Here
) -> None:
    """Finite weights, whose features are not."""
    run = copied(two, here)
    part("state_dict", lambda state: {k: v * 1e30 for k, v in state.items()})(run)
    said = said_of(here, "evaluate", str(run), code=2)
    assert "VAE: features of train images are not finite" in said
    assert "sklearn" not in said
    out, err = here("test", str(run), "--json", code=1)
    assert json.loads(out)["test/neg_elbo"] == "nan"
    assert re.search(r"genlab: \d of \d+ metrics are NaN: test/", err)


def test_a_judge_that_has_diverged_is_refused(two: Path, here: Here) -> None:
    from genlab.evaluation import open_judge

    run = copied(two, here)
    part("state_dict", lambda state: {k: v * 1e30 for k, v in state.items()})(run)
    image = torch.full((2, 1, 8, 8), 255, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"judge VAE .*: features are not finite, 2 of 2"):
        open_judge(str(run)).look([(image, torch.zeros(2), torch.zeros(2))])
    part("state_dict", nan)(run)
    with pytest.raises(ValueError, match="holds weights that are not finite"):
        open_judge(str(run))


def test_a_sweep_of_another_form_is_refused(here: Here) -> None:
    folder = here.folder / "runs" / "vae" / "digits" / "mine"
    folder.mkdir(parents=True)
    good = {"fixed": ["vae/digits"], "runs": ["mine-0"], "trials": [["seed_everything=1"]]}
    for key, value in (("fixed", None), ("runs", "x"), ("runs", [1]), ("trials", [3]),
                       ("trials", []), ("trials", [[1]])):  # fmt: skip
        (folder / "sweep.json").write_text(json.dumps(good | {key: value}))
        assert "is damaged" in said_of(here, "sweep", "--resume", "mine", code=2)


def test_class_names_of_any_kind_end_no_test(tmp_path: Path, here: Here) -> None:
    """Formulas between dollars that are none, and bytes that are not UTF-8."""
    from genlab.callbacks.confusion_matrix import draw, write_table

    names = ["$x^$", r"$\frac$", os.fsdecode(b"\xff\xfe"), "猫"]
    assert draw(np.eye(4, dtype=int), names).ndim == 3
    write_table(tmp_path / "per_class.csv", names, {"recall": [1.0] * 4})
    assert len((tmp_path / "per_class.csv").read_text().splitlines()) == 5


def test_test_images_of_one_class_are_no_failure(here: Here) -> None:
    here(
        "fit", "classifier/digits", "trainer.max_steps=1", "track.wandb=off",
        "track.test_after_fit=false", "trainer.limit_val_batches=1",
    )  # fmt: skip
    out, err = here("test", "classifier/digits", "trainer.limit_test_batches=1",
                    "data.eval_batch_size=1")  # fmt: skip
    assert "nan" in out
    assert err.count("test/auroc is undefined: all test images are of one class") == 1
