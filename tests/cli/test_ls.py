"""``genlab ls``: every recipe's facts, aligned, sorted and chosen."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from genlab import recipes
from genlab.cli import ls
from genlab.recipes import Head, Result, fingerprints
from tests.conftest import Here


def rows(out: str) -> list[list[str]]:
    """Cells of a table by the places of its titles."""
    lines = out.partition("\n\n")[0].splitlines()
    starts = [lines[0].index(title) for title in ls.COLUMNS]
    cuts = list(zip(starts, [*starts[1:], None], strict=True))
    return [[line[a:b].strip() for a, b in cuts] for line in lines[1:]]


def test_the_list_is_whole_aligned_and_narrow(here: Here) -> None:
    out, _ = here("ls")
    assert max(map(len, out.splitlines())) <= 110
    found = {row[0]: row[1:] for row in rows(out)}
    assert set(found) == set(recipes.shipped())
    assert found["vae/digits"][:2] == ["VAE", "Digits"]
    assert found["vae/digits"][3].startswith("test/neg_elbo ")
    assert found["byol/cifar10"][2:] == ["", "not run (92.6 %)"]
    assert found["glow/mnist"][:2] == ["Glow", "MNIST"]
    for name, (method, data, *_) in found.items():
        config = recipes.resolve([name]).config
        assert config["model"]["class_path"].endswith(f".{method}"), name
        assert config["data"]["class_path"].endswith(f".{data}"), name


def test_lines_are_chosen_and_sorted(here: Here) -> None:
    family = rows(here("ls", "--family", "glow")[0])
    assert {row[0].partition("/")[0] for row in family} == {"glow"}
    assert len(family) == sum(name.startswith("glow/") for name in recipes.shipped())
    learning = {row[0].partition("/")[0] for row in rows(here("ls", "--family", "pretext")[0])}
    assert {"jigsaw", "rotation"} <= learning
    assert not {"simclr", "glow"} & learning
    measured = rows(here("ls", "--measured")[0])
    assert all(row[4] and not row[4].startswith("not run") for row in measured)
    assert "classifier/cifar10_vit_tiny" not in {row[0] for row in measured}  # other settings only
    costs = [
        recipes.head(recipes.find(row[0])).seconds for row in rows(here("ls", "--sort=cost")[0])
    ]
    assert costs == sorted(costs)
    assert min(costs) < 10
    assert max(costs) == math.inf
    by_result = rows(here("ls", "mnist", "--sort", "result", "--measured")[0])
    kinds = [(row[2], row[4].split()[0]) for row in by_result]
    assert kinds == sorted(kinds)
    assert len(set(kinds)) > 5
    accuracies = [float(row[4].split()[1]) for row in rows(here("ls", "--sort=result")[0])
                  if (row[2], row[4].split()[0]) == ("Digits", "test/accuracy")]  # fmt: skip
    assert accuracies == sorted(accuracies, reverse=True)
    assert len(accuracies) > 1
    both = [row[0] for row in rows(here("ls", "vae", "digits")[0])]
    assert "vae/digits" in both
    assert all("digits" in name for name in both)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--family", "vea"], "vae"),
        (["--family", "qqqqq"], "wgan_gp; kinds: base, one_shot, pretext, self_supervised"),
        (["--sort", "price"], "cost"),
        (["nowhere"], "no recipe matches nowhere"),
        (["simcrl"], "did you mean simclr"),
        (["zzzzzz"], "families: autoencoder, "),
        (["cifar100", "--measured"], "no recipe matches cifar100"),
    ],
)
def test_a_wrong_choice_is_refused(here: Here, words: list[str], said: str) -> None:
    _, err = here("ls", *words, code=2)
    assert said in err
    assert len(err.splitlines()) <= 3


@pytest.mark.parametrize(
    ("cost", "seconds"),
    [
        ("13 CPU seconds", 13), ("1.2 CPU minutes, one thread", 72), ("716 s on a core", 716),
        ("about a minute on 2 CPU cores", 60), ("under a minute on 2 CPU cores", 60),
        ("at most 400 CPU seconds of one thread", 400), ("2 hours", 7200),
        ("about ten CPU minutes an epoch", math.inf), ("GPU days", math.inf), ("", math.inf),
        ("7.1 CPU minutes for 1,500 of the 8,000 steps", math.inf),
        ("lightly needs 98 minutes for 200 epochs", math.inf),
        ("5 CPU minutes an epoch", math.inf), ("0.5 seconds", 0.5), ("0 s", 0),
        ("1.2.3 s", math.inf), (". s", math.inf), ("1 hour and 10 minutes", 4200),
        ("3 minutes, an hour in all", 180),
    ],
)  # fmt: skip
def test_costs_are_times(cost: str, seconds: float) -> None:
    assert Head("x", cost=cost).seconds == seconds


def test_a_result_with_other_settings_is_not_the_recipes() -> None:
    short = Result("test/loss", 2.0, command="genlab fit x trainer.max_steps=3")
    asked = Result("knn_top1", 90.0, "%", 0.5, command="genlab evaluate RUN")
    assert Head("x", measured=(short,)).result is None
    assert Head("x", measured=(short, asked)).result == asked
    assert str(asked) == "knn_top1 90.0 ± 0.5 %"


def test_results_of_changed_recipes_are_marked(
    tmp_path: Path, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    body = "config: vae/digits\n"
    (tmp_path / "a.yaml").write_text(body)
    today = fingerprints.fingerprint(recipes.resolve([tmp_path / "a.yaml"]))
    for name, known in (("same", today), ("other", "0" * 64), ("without", "")):
        of = f", fingerprint: '{known}'" if known else ""
        head = f"title: x\nmeasured: [{{metric: m, value: 1{of}}}]\n"
        (tmp_path / f"{name}.yaml").write_text(f"{head}---\n{body}")
    (tmp_path / "never.yaml").write_text(
        f"title: x\nmeasured: not run\npublished: 9 %\n---\n{body}"
    )
    names = ("same", "other", "without", "never")
    listed = {f"x/{name}": tmp_path / f"{name}.yaml" for name in names}
    monkeypatch.setattr(recipes, "shipped", lambda: listed)
    out, _ = here("ls")
    assert [row[4] for row in rows(out)] == ["not run (9 %)", "m 1*", "m 1", "m 1~"]
    assert out.partition("\n\n")[2].splitlines() == [*ls.LEGEND.values()]
    assert "~" not in here("ls", "same")[0]


def test_a_plugins_wrong_recipe_is_a_line_of_the_list(
    tmp_path: Path, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"vae/digits": recipes.find("vae/digits")}
    for name, text in (("typo", "titel: x\n---\nmodel: VAE\n"), ("quick", "title: x\ncost: 0 s\n"
                       "---\nmodel: VAE\n"), ("lost", "title: x\n---\nconfig: nowhere\n"),
                       ("odd", "a: [\n---\nmodel: VAE\n")):  # fmt: skip
        (tmp_path / f"{name}.yaml").write_text(text)
        known[f"plugin/{name}"] = tmp_path / f"{name}.yaml"
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe")
    known["plugin/bytes"] = tmp_path / "bytes.yaml"
    monkeypatch.setattr(recipes, "shipped", lambda: known)
    for order in ls.ORDERS:
        found = {row[0]: row[1:] for row in rows(here("ls", "--sort", order)[0])}
        assert set(found) == set(known)
        assert found["plugin/typo"] == ["", "", "", "wrong: unknown key titel"]
        assert found["plugin/odd"][3].startswith("wrong: not YAML")
        assert found["plugin/lost"][3].startswith("wrong: ")
        assert found["plugin/quick"] == ["VAE", "", "0 s", "not run"]
        assert found["vae/digits"][0] == "VAE"
    assert {row[0] for row in rows(here("ls", "--measured")[0])} == {"vae/digits"}
