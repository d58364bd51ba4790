"""Runs side by side, with figures that can be checked by hand."""

from __future__ import annotations

import json
import os
from pathlib import Path
from statistics import stdev
from typing import Any

import numpy as np
import pytest
from PIL import Image

from genlab import runs
from genlab.errors import RunError
from genlab.experiments.comparison import Run, chosen, differing, grouped
from genlab.experiments.curves import band
from tests.conftest import Here
from tests.run_folders import write_run


@pytest.fixture
def five(tmp_path: Path) -> Path:
    """Three seeds of one setting, two runs of another: one finished, one stopped."""
    root = tmp_path / "runs" / "classifier" / "digits"
    for seed, value in enumerate((1.0, 2.0, 6.0)):
        write_run(root / f"slurm-7_{seed}", seed=seed, lr=0.1, value=value)
    write_run(root / "slurm-8_0", seed=0, lr=0.2, value=2.5)
    write_run(root / "slurm-8_1", seed=1, lr=0.2, value=9.0, finished=False)
    return root


def names(found: list[Run]) -> list[str]:
    return [run.path.name for run in found]


def test_words_mean_runs_ids_recipes_arrays_sweeps_and_patterns(five: Path) -> None:
    root, every = five.parents[1], [run.name for run in sorted(five.iterdir())]
    assert names(chosen(["classifier/digits"], root)) == every
    assert names(chosen(["class*/d*"], root)) == every
    assert names(chosen(["slurm-7"], root)) == every[:3]
    assert names(chosen(["slurm-8_1", str(five / "slurm-7_0")], root)) == [every[0], every[4]]
    assert names(chosen(["slurm-?_0", "slurm-7_0"], root)) == [every[0], every[3]]
    (five / "mine").mkdir()
    runs.write_json(five / "mine" / "sweep.json", {"runs": ["slurm-8_0", "gone", "slurm-7_1"]})
    for word in ("mine", str(five / "mine")):
        assert names(chosen([word], root)) == [every[1], every[3]]
    with pytest.raises(RunError, match="did you mean slurm-7_"):
        chosen(["slurm-7_9"], root)


def test_mean_and_deviation_over_seeds_by_hand(five: Path) -> None:
    found = chosen(["classifier/digits"], five.parents[1])
    assert differing(found) == ["model.optimizer.lr"]
    (tenth, fifth), twice = grouped(found)
    assert not twice
    one = tenth.summary("val/loss")
    assert (one["mean"], one["n"], one["values"]) == (3.0, 3, [1.0, 2.0, 6.0])
    assert one["sd"] == pytest.approx(stdev([1, 2, 6]))
    other = fifth.summary("val/loss")  # the stopped run does not count
    assert (other["mean"], other["sd"], other["n"]) == (2.5, None, 1)
    assert [group.name for group in (tenth, fifth)] == ["lr=0.1", "lr=0.2"]


def test_what_a_class_lacks_is_no_difference_and_other_settings_are(tmp_path: Path) -> None:
    root = tmp_path / "runs" / "a" / "b"
    write_run(root / "1", seed=0, lr=1, value=1, kind="VAE", latent_dim=2)
    write_run(root / "2", seed=0, lr=1, value=1)
    found = chosen(["a/b"], root.parents[1])
    assert differing(found) == ["model"]
    write_run(root / "3", seed=0, lr=1, value=1, kind="VAE", latent_dim=3)
    assert differing(chosen(["a/b"], root.parents[1])) == ["model", "model.latent_dim"]


def test_the_same_seed_again_counts_once_and_is_said(tmp_path: Path) -> None:
    root = tmp_path / "runs" / "a" / "b"
    for name, finished in (("1", True), ("2", True), ("3", False)):
        write_run(root / name, seed=0, lr=1, value=float(name), finished=finished)
    (group,), twice = grouped(chosen(["a/b"], root.parents[1]))
    assert names(group.runs) == ["2"]  # the newest that finished
    assert names(twice) == ["1", "3"]


def test_groups_by_a_setting_gather_over_the_rest(tmp_path: Path) -> None:
    root = tmp_path / "runs" / "a" / "b"
    for k, (lr, dim) in enumerate(((1, 2), (1, 3), (2, 2))):
        write_run(root / str(k), seed=0, lr=lr, value=float(k), latent_dim=dim)
    groups, _ = grouped(chosen(["a/b"], root.parents[1]), ["model.latent_dim"])
    assert [names(group.runs) for group in groups] == [["0", "2"], ["1"]]


def test_a_run_that_diverged_is_not_averaged_away(here: Here) -> None:
    root = here.folder / "runs" / "a" / "b"
    write_run(root / "0", seed=0, lr=1, value=1.0)
    write_run(root / "1", seed=1, lr=1, value="nan")
    out, _ = here("compare", "a/b")
    assert "1 (1 not finite)" in out


def test_the_table_is_best_first_and_says_what_is_not_finished(here: Here, five: Path) -> None:
    lock = runs.lock(five / "slurm-7_2")
    out, err = here("compare", "classifier/digits")
    lock.close()
    lines = out.splitlines()
    assert not err
    assert lines[0].split()[:4] == ["run", "optimizer.lr", "runs", "val/loss"]
    assert lines[1].split()[:8] == ["slurm-7_0", "+2", "0.1", "2", "+1", "running", "1.5", "±"]
    assert lines[2].split()[:7] == ["slurm-8_0", "+1", "0.2", "1", "+1", "stale", "2.5"]
    assert f"stale at step 20: {os.path.join('runs', 'classifier', 'digits', 'slurm-8_1')}" in out
    assert "running at step 20" in out
    assert "curves  runs/classifier/digits/compare.png" in out


def test_where_nothing_selects_the_order_is_that_of_the_runs(here: Here) -> None:
    for name, lr in (("0", 2.0), ("1", 1.0)):
        run = here.folder / "runs" / "a" / "b" / name
        write_run(run, seed=0, lr=lr, value=lr, monitor="null")
    out, _ = here("compare", "a/b")
    assert [line.split()[1] for line in out.splitlines()[1:3]] == ["2", "1"]
    assert "curves  runs/a/b/compare.png" in out


def test_each_run_has_a_row_with_its_id_and_seed(here: Here, five: Path) -> None:
    out, _ = here("compare", "slurm-7", "slurm-8_1", "--each")
    lines = out.splitlines()
    assert lines[0].split()[:5] == ["run", "optimizer.lr", "seed", "state", "val/loss"]
    assert [line.split()[:5] for line in lines[1:5]] == [
        ["slurm-7_0", "0.1", "0", "done", "1"], ["slurm-7_1", "0.1", "1", "done", "2"],
        ["slurm-7_2", "0.1", "2", "done", "6"], ["slurm-8_1", "0.2", "1", "stale", "(9)"],
    ]  # fmt: skip
    assert "cannot be combined" in here("compare", "slurm-7", "--each", "--group-by", "seed",
                                        code=2)[1]  # fmt: skip


def test_wide_settings_have_lines_of_their_own_whole(here: Here) -> None:
    root = here.folder / "runs" / "a" / "b"
    for name, end in (("0", "x"), ("1", "y")):
        write_run(root / name, seed=0, lr=1, value=float(name), note="long" * 20 + end)
    groups, _ = grouped(chosen(["a/b"], here.folder / "runs"))
    assert len({group.name for group in groups}) == 2  # though both are cut before they differ
    lines = here("compare", "a/b")[0].splitlines()
    assert lines[0].split()[:2] == ["run", "runs"]
    place = lines.index("model.note")
    assert lines[place + 1 : place + 3] == [f"  0  {'long' * 20}x", f"  1  {'long' * 20}y"]


def test_metrics_of_an_evaluation_are_shown_with_their_judge(here: Here, five: Path) -> None:
    judge = {"evaluate/judge_lenet_ab12": "lenet/mnist/7, sha256 ab12", "evaluate/step": 20}
    for name in ("slurm-8_0", "slurm-7_1"):
        final = runs.read_json(five / name / "metrics.json")
        more = {"evaluate/fid_lenet_ab12": 3.25, "evaluate/loss": 1.0}
        runs.write_json(five / name / "metrics.json", final | judge | more)
    out, _ = here("compare", "slurm-8_0", "slurm-7_1")
    assert out.splitlines()[0].split()[-1] == "evaluate/fid_lenet_ab12"
    assert out.splitlines()[1].split()[-1] == "3.25"
    assert out.count("judge: lenet/mnist/7, sha256 ab12") == 1
    table = json.loads(here("compare", "slurm-8_0", "--json")[0])
    assert table["judges"] == {"evaluate/fid_lenet_ab12": ["lenet/mnist/7, sha256 ab12"]}


def test_json_metric_out_and_group_by(here: Here, five: Path) -> None:
    words = ("--metric", "best/val/loss", "--out", "my/picture.png", "--json")
    out, _ = here("compare", "slurm-7", "slurm-8", *words)
    table = json.loads(out)
    assert table["differ"] == ["model.optimizer.lr"]
    assert [group["settings"]["model.optimizer.lr"] for group in table["groups"]] == [0.2, 0.1]
    assert table["groups"][1]["metrics"]["best/val/loss"]["values"] == [1.0, 2.0, 6.0]
    assert [run["state"] for run in table["groups"][0]["runs"]] == ["done", "stale"]
    with Image.open(table["picture"]) as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    for colour in ((0x00, 0x72, 0xB2), (0xE6, 0x9F, 0x00)):  # both lines are there
        assert (pixels == colour).all(1).sum() > 100


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("slurm-7", "--metric", "val/los"), "did you mean val/loss"),
        (("slurm-7", "--group-by", "model.optimizer.l"), "did you mean model.optimizer.lr"),
        (("slurm-7", "--out", "x.jpg"), ".png"),
        (("slurm-6",), "slurm-6 is not a run directory"),
    ],
)
def test_wrong_words_are_said_with_the_nearest(
    here: Here, five: Path, words: tuple[str, ...], said: str
) -> None:
    _, err = here("compare", *words, code=2)
    assert said in err
    assert len(err.strip().splitlines()) <= 3
    assert not list(five.glob("*.png"))


def test_the_band_is_interpolated_and_ends_with_the_shortest(tmp_path: Path) -> None:
    root = tmp_path / "runs" / "a" / "b"
    write_run(root / "0", seed=0, lr=1, value=0.0, steps=(0, 10, 20))  # 20 - step
    write_run(root / "1", seed=1, lr=1, value=4.0, steps=(0, 5, 10))  # 14 - step
    found = band(chosen(["a/b"], root.parents[1]), "val/loss")
    assert found is not None
    steps, mean, sd = found
    assert steps.tolist() == [0, 5, 10]
    assert mean.tolist() == [17.0, 12.0, 7.0]
    assert sd == pytest.approx(np.full(3, stdev([20, 14])))
    assert band([], "val/loss") is None


def test_the_test_set_comes_before_further_metrics_of_validation(here: Here, five: Path) -> None:
    nouns = [f"kl_{k}" for k in range(6)]
    more = {f"val/{noun}": 1.0 for noun in nouns} | {"test/neg_elbo": 2.0, "test/iwae_nll": 3.0}
    more |= {f"test/{noun}": 1.0 for noun in nouns}
    for name in ("slurm-7_0", "slurm-8_0"):
        final = runs.read_json(five / name / "metrics.json")
        runs.write_json(five / name / "metrics.json", final | more)
    out, _ = here(*f"compare {five / 'slurm-7_0'} {five / 'slurm-8_0'} --json".split())
    columns = list(json.loads(out)["groups"][0]["metrics"])
    first = ["val/loss", "best/val/loss", "test/neg_elbo", "test/iwae_nll"]
    assert columns == [*first, "test/kl_0", "test/kl_1"]
    out, _ = here(*f"compare {five / 'slurm-7_0'} {five / 'slurm-8_0'} --metric val/loss".split())
    assert "more with" not in out


def test_names_have_all_settings_that_differ_or_the_run(five: Path) -> None:
    for k, name in enumerate(("few", "others")):
        write_run(five / name, seed=0, lr=0.1 + k, value=1.0, width=k)
    few, _ = grouped([run for run in chosen([str(five)]) if run.path.name in ("few", "others")])
    assert [group.name for group in few] == ["lr=0.1, width=0", "lr=1.1, width=1"]
    for k, name in enumerate(("many", "more")):
        extra: dict[str, Any] = dict.fromkeys("abcde", k)
        write_run(five / name, seed=0, lr=0.1 + k, value=1.0, **extra)
    many, _ = grouped([run for run in chosen([str(five)]) if run.path.name in ("many", "more")])
    assert all(group.name.endswith(f"... ({group.label})") for group in many)
