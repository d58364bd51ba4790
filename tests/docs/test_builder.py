"""Pages that are made from docstrings, recipe heads and parsers."""

from __future__ import annotations

import argparse
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from docs.builder import api, commands, methods, pictures, reference, results, studies
from docs.builder.markdown import linked, table
from genlab import cli, recipes
from genlab.describing import metrics, source
from genlab.internals import python_parts
from genlab.recipes.heads import Head, Result


@cache
def page(name: str) -> str:
    return methods.page(name)


def test_every_method_has_its_objective_and_no_other_file_lies_there() -> None:
    written = {file.stem for file in methods.OBJECTIVES.glob("*")}
    assert written == set(methods.methods())
    for name in written:
        assert "$" in methods.objective(name)


@pytest.mark.parametrize("name", ["vae", "simclr", "glow", "fixmatch"])
def test_a_methods_page_has_all_parts(name: str) -> None:
    for title in ("Objective", "Recipes", "Arguments", "Laws", "Departures from the paper"):
        assert f"\n## {title}\n" in page(name)
    assert "arxiv.org/abs/" in page(name)


def test_arguments_have_default_and_meaning() -> None:
    assert "| `kl_weight` | `float` | `1.0` | beta. |" in page("vae")
    assert "| `path_gradient` | `bool` | `false` |" in page("vae")


def test_a_law_that_does_not_apply_has_its_reason() -> None:
    assert "does not apply: in-batch negatives" in page("simclr")
    assert page("simclr").count("| obeyed |") == len(methods.all_laws()) - 1


def test_departures_stand_apart_from_sources() -> None:
    about, departures = methods.documented(methods.methods()["vae"])
    assert "Kingma & Welling" in about
    assert departures.startswith("free bits")
    assert "Departure" not in about
    assert methods.documented(methods.methods()["cvae"])[1] == ""
    about, departures = methods.documented(methods.methods()["byol"])
    assert departures == "the last map of projector and predictor has a bias."
    assert "sync_batchnorm" in about


def test_every_method_says_its_departures_and_metrics() -> None:
    for name, one in methods.methods().items():
        assert methods.DEPARTURES.search(methods._module(one)), name
        assert "\n## Metrics\n" in page(name), name
    assert "| `val/bits_per_dim` |" in page("glow")


def test_a_method_that_is_silent_on_departures_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "quiet.py"
    file.write_text('"""Quiet: says nothing."""\n\nclass Quiet: ...\n')
    with pytest.raises(ValueError, match="no line of departures"):
        methods.documented(source.definitions("quiet", file)[0])


def test_results_have_a_row_for_each_recipe() -> None:
    text = results.page()
    for name in recipes.shipped():
        assert text.count(f"| `{name}`<br>") == 1, name
    first = recipes.head(recipes.find("vae/digits")).measured[0]
    assert f"**{first.value:g} ± {first.spread:g}**&nbsp;nats `test/neg_elbo`" in text


def test_a_result_has_its_spread_unit_and_a_star_where_the_code_has_changed() -> None:
    found = Result("test/neg_elbo", 24.34, "nats", 0.5, fingerprint="a")
    assert results.measured([found], "a") == "**24.34 ± 0.5**&nbsp;nats `test/neg_elbo`"
    assert results.measured([found], "b").endswith(r"`test/neg_elbo`&nbsp;\*")
    assert results.measured([]) == "not run"


def test_a_result_has_its_command_and_conditions() -> None:
    command = "genlab evaluate RUN data.limit=100"
    found = Result("linear_top1", 95.3, "%", command=command, notes="of 300; random 85.2 +- 2.5")
    text = results.measured([found])
    assert text.endswith(f"<br><small>`{command}`; of 300; random 85.2 ± 2.5</small>")


def test_a_result_of_other_settings_is_not_the_recipes() -> None:
    command = "genlab fit a/b trainer.max_steps=3"
    short = Result("test/loss", 2.0, seeds=(0,), command=command, notes="after 3 steps")
    only, other = results.of_head("a/b", Head("A", published="1.0", measured=(short,)))
    assert only == ["`a/b`<br>A", "not run", "0", "1.0", ""]
    assert other[:3] == [f"`{command}`", f"{results.measured([short])}", "1"]
    whole = Result("test/loss", 1.5, seeds=(0, 1))
    first, second = results.of_head("a/b", Head("A", measured=(short, whole)))
    assert first[1:3] == ["**1.5** `test/loss`", "2"]
    assert second == other


def test_the_page_runs_what_the_list_of_recipes_runs() -> None:
    for name, head in results.heads().items():
        assert ("not run" in results.of_head(name, head)[0][1]) == (head.result is None), name


def test_recipes_that_were_not_run_say_so_once() -> None:
    rows = [line for line in results.page().splitlines() if line.startswith("| `byol/cifar10`<br>")]
    assert rows[0].count("not run") == 1
    assert "| not run | 0 |" in rows[0]


def test_studies_are_listed_by_title_and_first_paragraph(tmp_path: Path) -> None:
    assert "None yet" in studies.pages(tmp_path)["studies/index.md"]
    (tmp_path / "width.md").write_text("# Width of the head\n\nWider is\nbetter.\n\nMore.\n")
    found = studies.pages(tmp_path)
    assert "| [Width of the head](width.md) | Wider is better. | - |" in found["studies/index.md"]
    assert "None yet" not in found["studies/index.md"]
    assert found["studies/SUMMARY.md"].endswith("* [Width of the head](width.md)\n")


def test_studies_with_results_have_an_interactive_page() -> None:
    found = studies.pages()
    page = found["studies/few_labels/mnist-report.html"]
    assert "barlow_twins" in page
    assert page.startswith("<!doctype html>")
    assert "[open](few_labels/mnist-report.html)" in found["studies/index.md"]


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_a_command_has_all_its_options(name: str) -> None:
    text = commands.command(name)
    for action in python_parts.actions(commands.parser_of(name)):
        for option in action.option_strings:
            assert f"`{option}" in text, option
    assert isinstance(commands.parser_of(name), argparse.ArgumentParser)


def test_every_public_module_has_a_page() -> None:
    pages = api.api()
    for name in api.modules():
        assert f"::: {name}\n" in pages[api.page_of(name)]
    assert len(set(map(api.page_of, api.modules()))) == len(api.modules())
    assert not any("._" in name for name in api.modules())


def test_the_reference_has_callbacks_data_and_keys() -> None:
    pages = reference.pages()
    assert "\n## EMAWeights\n" in pages["reference/callbacks.md"]
    assert "\n## ImageFolder\n" in pages["reference/data.md"]
    assert "| `monitor` |" in pages["reference/recipe.md"]
    assert "| `max_epochs` |" in pages["reference/recipe.md"]
    assert "``layer_decay``" in pages["reference/optimizer.md"]
    assert "| `simclr` | 2 |" in pages["reference/views.md"]
    assert not [name for name, text in pages.items() if ":math:" in text]


def test_numbers_of_papers_and_addresses_are_links() -> None:
    text = linked("see arXiv:1312.6114, https://a.org/b.")
    assert "[arXiv:1312.6114](https://arxiv.org/abs/1312.6114)" in text
    assert "<https://a.org/b>." in text


def test_cells_stay_in_their_row() -> None:
    made = table(("a",), [("x | y\nz, `RUN|ID`",)])
    assert made == "| a |\n|---|\n| x \\| y z, `RUN|ID` |\n"


def test_an_image_of_the_site_is_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    size = pictures.shrink(tmp_path / "noise.png", tmp_path / "noise.webp")
    monkeypatch.setattr(pictures, "LARGEST", size - 1)
    assert pictures.shrink(tmp_path / "noise.png", tmp_path / "noise.webp") < size
    monkeypatch.setattr(pictures, "LARGEST", 100)
    with pytest.raises(ValueError, match="above 100"):
        pictures.shrink(tmp_path / "noise.png", tmp_path / "noise.webp")


def measured_on_digits() -> set[str]:
    """Pages of the methods that have a figure of their own for a recipe on digits."""
    heads = {name: head for name, head in results.heads().items() if name.endswith("/digits")}
    return {
        page
        for page, method in methods.methods().items()
        if any(name in heads and heads[name].result for name in results.of_class(method.name))
    }


def test_every_method_measured_on_digits_has_an_image_and_no_other_method() -> None:
    assert {one.page for one in pictures.DRAWINGS} == {*measured_on_digits(), pictures.README}


def test_images_of_the_site_belong_to_its_pages() -> None:
    assert all(one.target.is_file() for one in pictures.DRAWINGS)
    recipes_of = {page: results.of_class(one.name) for page, one in methods.methods().items()}
    recipes_of[pictures.README] = list(recipes.shipped())
    assert all(one.recipe in recipes_of[one.page] for one in pictures.DRAWINGS)
    drawn = {one.target for one in pictures.DRAWINGS}
    assert set(pictures.PLACE.glob("*")) <= drawn
    assert sum(file.stat().st_size for file in drawn) <= 2_000_000
    assert all(file.stat().st_size <= pictures.LARGEST for file in drawn)


def test_every_documented_metric_and_setting_has_a_row() -> None:
    pages = reference.pages()
    for name in metrics.names():
        assert f"| `{name}` |" in pages["reference/metrics.md"], name
    for key in ("stem", "num_heads", "layer_decay", "unsafe_pickle"):
        assert f"| `{key}` |" in pages["reference/settings.md"], key
    assert "| `val/kl` | nats |" in page("vae")
