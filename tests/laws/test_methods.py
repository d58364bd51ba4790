"""Every method of genlab obeys every law, or the table of exceptions says why not."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pytest

from genlab import methods, testing
from genlab.testing.exceptions import EXCEPTIONS, MOST

SMALLEST = testing.smallest()
VARIANTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "autoencoder_conv": ("autoencoder/digits", ("model.encoder=conv", "model.decoder=conv")),
    "vae_conv": ("vae/digits", ("model.encoder=conv", "model.decoder=conv", "model.free_bits=0.1")),
    "vae_iwae": ("vae/digits", ("model.iw_samples=3",)),
    "vae_logistic": (
        "vae/digits", ("model.likelihood=discretized_logistic", "model.scale=pixel"),
    ),
    "vae_gaussian": ("vae/digits", ("model.likelihood=gaussian",)),
    "vae_mixture": ("vae/digits", ("model.prior=mixture",)),
    "vae_vamp": ("vae/digits", ("model.prior=vamp", "model.prior_kwargs.components=7")),
    "vae_flow": ("vae/digits", ("model.prior=flow", "model.posterior=iaf")),
    "vae_full": ("vae/digits", ("model.posterior=full",)),
    "vae_categorical": ("vae/digits", ("model.posterior=categorical",)),
    "vae_tc": ("vae/digits", ("model.objective=tc", "model.kl_weight=6")),
    "vae_pixelcnn": ("vae/digits_pixelcnn", ()),
    "hierarchical_vae_residual": (
        "hierarchical_vae/digits", ("model.form=residual", "model.free_bits=0.1"),
    ),
    "hierarchical_vae_vamp": (
        "hierarchical_vae/digits", ("model.prior=vamp", "model.prior_kwargs.components=7"),
    ),
    "cvae_learned": ("cvae/digits", ("model.prior=learned",)),
    "cvae_class_mean": ("cvae/digits", ("model.prior=class_mean",)),
    "vqvae_gradient": ("vqvae/digits", ("model.codebook=gradient",)),
    "vqvae_gumbel": ("vqvae/digits", ("model.codebook=gumbel",)),
    "vqvae_fsq": ("vqvae/digits_fsq", ()),
    "vqvae_lfq": ("vqvae/digits_lfq", ()),
    "vqvae_residual": ("vqvae/digits_residual", ()),
    "vqvae_sim": ("vqvae/digits", ("model.codebook=sim",)),
    "fixmatch_flex": ("fixmatch/digits", ("model.rule=flexmatch",)),
    "fixmatch_free": ("fixmatch/digits", ("model.rule=freematch", "model.fairness=0.05")),
    "fixmatch_soft": ("fixmatch/digits", ("model.rule=softmatch", "model.align=uniform")),
    "fixmatch_uda": ("fixmatch/digits", ("model.rule=uda", "model.align=uniform")),
    "moco_symmetric": ("moco/digits", ("model.symmetric=true",)),
    "moco_vit": ("moco/digits", ("model.encoder=vit_tiny_patch16_224",)),
    "realnvp_spline": (
        "realnvp/digits", ("model.network=mlp", "model.coupling=spline", "model.bins=4"),
    ),
    "maf_sampling": ("maf/digits", ("model.direction=sampling",)),
    "nsf_autoregressive": ("nsf/digits", ("model.transform=autoregressive",)),
    "made_binary": ("made/digits", ("model.levels=2", "data.binarize=dynamic")),
    "pixel_prior_pixelcnn": ("pixel_prior/digits", ("model.network=pixelcnn",)),
    "realnvp_toys": ("realnvp/two_moons", ()),
    "wgan_hinge": (
        "wgan_gp/digits", ("model.objective=hinge", "model.constraint=spectral_norm"),
    ),
    "wgan_pairs": (
        "wgan_gp/digits_r3gan", ("model.augment=[color, translation, cutout]",),
    ),
    "wgan_conditional": (
        "wgan_gp/digits", ("model.condition=projection", "model.generator_kwargs.norm=conditional"),
    ),
    "wgan_self_modulated": ("wgan_gp/digits", ("model.generator_kwargs.norm=self_modulated",)),
}  # fmt: skip
GATHER = ("simclr/digits", "barlow_twins/digits")  # the others' worlds are slow
WITH_MEMORY = ("simclr/digits", "glow/digits", "vqvae/digits", "wgan_gp/digits")
TRIED = ("processes", "resume", "checkpoint", "order", "gradients", "bf16")


@lru_cache(2)  # laws of one case follow each other; all cases at once are gigabytes
def case_of(recipe: str, words: tuple[str, ...] = ()) -> testing.Case:
    return testing.case([recipe], list(words))


def obeys(case: testing.Case, law: str, ranks: testing.Ranks) -> None:
    finding = testing.judge(case, law, ranks)
    assert finding.passed, finding


def test_every_method_is_under_the_laws() -> None:
    files = {file.stem for file in Path(methods.__file__).parent.glob("[a-z]*.py")}
    named = {recipe.partition("/")[0] for recipe in SMALLEST.values() if recipe}
    assert named == files, "a method without a recipe is under no law"


@pytest.mark.parametrize("law", [law for law in testing.LAWS if law != "worlds"])
@pytest.mark.parametrize("kind", SMALLEST)
def test_a_method_obeys(kind: str, law: str, ranks: testing.Ranks) -> None:
    recipe = SMALLEST[kind]
    assert recipe is not None
    case = case_of(recipe)
    assert type(case.method).__name__ == kind
    obeys(case, law, ranks)


@pytest.mark.parametrize(
    "recipe",
    [
        pytest.param(recipe, marks=[] if recipe in GATHER else [pytest.mark.slow])
        for recipe in SMALLEST.values()
    ],
)
def test_nothing_grows_faster_than_the_devices(recipe: str, ranks: testing.Ranks) -> None:
    obeys(testing.case([recipe]), "worlds", ranks)


@pytest.mark.parametrize("recipe", WITH_MEMORY)
def test_four_processes_equal_one(recipe: str, ranks: testing.Ranks) -> None:
    obeys(testing.case([recipe], worlds=(4,)), "processes", ranks)


@pytest.mark.slow
@pytest.mark.parametrize("world", [4, 8])
@pytest.mark.parametrize("kind", SMALLEST)
def test_more_processes_equal_one(kind: str, world: int, ranks: testing.Ranks) -> None:
    recipe = SMALLEST[kind]
    assert recipe is not None
    obeys(testing.case([recipe], worlds=(world,)), "processes", ranks)


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_variants_on_eight_processes_equal_one(name: str, ranks: testing.Ranks) -> None:
    recipe, words = VARIANTS[name]
    obeys(testing.case([recipe], list(words), (8,)), "processes", ranks)


def test_total_correlation_is_that_of_all_processes(ranks: testing.Ranks) -> None:
    obeys(case_of(*VARIANTS["vae_tc"]), "processes", ranks)


@pytest.mark.slow
@pytest.mark.parametrize("law", TRIED)
@pytest.mark.parametrize("name", VARIANTS)
def test_its_variants_obey(name: str, law: str, ranks: testing.Ranks) -> None:
    obeys(case_of(*VARIANTS[name]), law, ranks)


def test_exceptions_are_few_and_of_methods_that_are_there() -> None:
    assert set(EXCEPTIONS) <= set(SMALLEST)
    for kind, reasons in EXCEPTIONS.items():
        assert len(reasons) <= MOST, kind
        assert set(reasons) <= set(testing.LAWS), kind
