"""Numbers of the README: each is in the head or settings of the recipe that it stands beside."""

from __future__ import annotations

import re
from functools import cache

import pytest

from genlab import recipes
from genlab.recipes.heads import Head, Result
from tests.test_documents import ROOT

README = (ROOT / "README.md").read_text()
ROW = re.compile(r"^\| \[?`\w+`.*? \| (?P<recipes>`\w+/.*?) \| (?P<measured>.*?) \|$", re.M)
UNITS = {"bits/dim": "bits per dimension"}
NOT_RUN = (
    "hierarchical_vae/mnist_binary", "maf/digits", "nsf/digits",
    "pixel_prior/digits", "vat/digits", "mean_teacher/digits", "m2/digits",
)  # fmt: skip
PROBES = ("moco", "moco_v3", "byol", "simsiam")


@cache
def head(recipe: str) -> Head:
    return recipes.head(recipes.find(recipe))


def result(recipe: str, metric: str) -> Result:
    return next(one for one in head(recipe).measured if one.metric == metric)


def said(recipe: str, metric: str) -> str:
    """A result as the README has it: ``95.9 ± 0.3 %``."""
    one = result(recipe, metric)
    spread = "" if one.spread is None else f" ± {one.spread}"
    return f"{one.value}{spread} {UNITS.get(one.unit, one.unit)}".strip()


def noted(recipe: str, metric: str, phrase: str) -> str:
    """A phrase, which the notes of a result must have."""
    assert phrase in result(recipe, metric).notes, (recipe, phrase)
    return phrase


def setting(recipe: str, name: str) -> object:
    """An argument of a recipe's data class."""
    return recipes.resolve([recipe]).arguments("data")[name]


def cells() -> dict[str, str]:
    """Cell of each row's results, written from heads and settings."""
    one_percent = noted("simclr/mnist", "linear_top1", "linear probe of 1 % of the labels")
    iwae = noted("vae/mnist_flow_prior", "test/iwae_nll", "IWAE-500, first 1,000 test images")
    hundred = noted("barlow_twins/digits", "linear_top1", "linear probe of 100 labels")
    codes = noted("vqvae/mnist", "test/perplexity", "512 of 512 codes used")
    supervised = said("fixmatch/mnist_supervised", "test/accuracy")
    return {
        "autoencoder/mnist": f"squared error {said('autoencoder/mnist', 'test/mse')}",
        "vae/mnist_flow_prior": "MNIST, binarised: "
        f"{said('vae/mnist_flow_prior', 'test/iwae_nll')} ({iwae})",
        "made/binary_density": f"binary vectors (dna): {said('made/binary_density', 'test/loss')}",
        "cvae/mnist": f"{said('cvae/mnist', 'test/neg_elbo')}; "
        f"{said('cvae/mnist', 'judge/accuracy')} of samples in their class",
        "vqvae/mnist": f"{codes}; {said('vq_prior/mnist', 'test/loss')}",
        "vqgan/mnist": f"squared error {said('vqgan/mnist', 'test/mse')}",
        "masked_prior/digits": "digits: "
        f"{said('masked_prior/digits', 'judge/accuracy')} of samples in their class",
        "wgan_gp/mnist": f"FID {said('wgan_gp/mnist', 'judge/fid_lenet')} in LeNet's features",
        "ffjord/eight_gaussians": "points in the plane: "
        f"{said('ffjord/eight_gaussians', 'test/excess_nats')} above their density",
        **{f"{name}/digits": f"digits through their codes: squared error "
           f"{said(f'{name}/digits', 'test/mse')}" for name in ("ogan", "cvae_gan")},
        **{name: said(name, "test/bits_per_dim") for name in
           ("nice/digits", "realnvp/mnist_best", "glow/mnist", "flow_matching/digits",
            "diffusion/digits")},
        "simclr/mnist": f"{one_percent}: {said('simclr/mnist', 'linear_top1')}",
        **{f"{name}/mnist": f"{said(f'{name}/mnist', 'linear_top1')}, likewise" for name in PROBES},
        "barlow_twins/digits": f"digits, {hundred}: {said('barlow_twins/digits', 'linear_top1')}",
        "fixmatch/mnist": f"{said('fixmatch/mnist', 'test/accuracy')} with "
        f"{setting('fixmatch/mnist', 'labels')} labels (supervised: {supervised})",
        "classifier/mnist_best": f"MNIST {said('classifier/mnist_best', 'test/accuracy')}; "
        f"CIFAR-10 {said('classifier/cifar10', 'test/accuracy')}, "
        f"in at most {head('classifier/cifar10').seconds:g} CPU seconds",
        "linear/mnist_1percent": "quality of frozen features",
        **{name: "not run" for name in NOT_RUN if not head(name).measured},
    }  # fmt: skip


def test_results_of_the_readme_are_those_of_recipes() -> None:
    found = {re.findall(r"`([\w/]+)`", row["recipes"])[0]: row["measured"]
             for row in ROW.finditer(README)}  # fmt: skip
    assert found == cells()


@pytest.mark.parametrize("recipe", [f"{name}/mnist" for name in PROBES])
def test_likewise_is_the_same_probe(recipe: str) -> None:
    one, first = result(recipe, "linear_top1"), result("simclr/mnist", "linear_top1")
    assert one.notes == first.notes
    assert one.command == first.command


def test_the_readme_counts_measured_recipes() -> None:
    heads = [recipes.head(file) for file in recipes.shipped().values()]
    measured = sum(one.result is not None for one in heads)  # as `genlab ls --measured` has it
    assert f"{measured} of the {len(heads)} recipes have results that" in README


@pytest.mark.parametrize(
    ("quoted", "recipe", "metric", "scale"),
    [
        (r"test/linear_top1 +([\d.]+)$", "simclr/digits", "linear_top1", 100),
        (r"neg_elbo .* ([\d.]+) │$", "vae/digits", "test/neg_elbo", 1),
        (r'"test/neg_elbo"\]  # ([\d.]+)$', "vae/digits", "test/neg_elbo", 1),
    ],
)
def test_quoted_output_is_near_the_measured(
    quoted: str, recipe: str, metric: str, scale: float
) -> None:
    shown = re.search(quoted, README, re.M)
    assert shown, quoted
    one = result(recipe, metric)
    rounding = 0.5 * scale * 10.0 ** -len(shown[1].partition(".")[2])
    assert abs(float(shown[1]) * scale - one.value) <= 2 * (one.spread or 0) + rounding
