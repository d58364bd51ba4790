"""Prior and posterior of a VAE together, and which of its settings fit them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from genlab.networks.latents.posteriors import CategoricalPosterior, GaussianPosterior, posterior
from genlab.networks.latents.priors import CategoricalPrior, StandardPrior, prior

OBJECTIVES = ("beta", "tc")


def latents(
    latent_dim: int,
    shape: Sequence[int],
    prior_name: str,
    posterior_name: str,
    prior_kwargs: Mapping[str, Any] | None = None,
    posterior_kwargs: Mapping[str, Any] | None = None,
) -> tuple[StandardPrior, GaussianPosterior]:
    """A prior and a posterior by name.

    Args:
        latent_dim: D.
        shape: (C, H, W) of the images.
        prior_name: see `priors.prior`; ``standard`` means equally likely categories where the
            latents are categorical.
        posterior_name: see `posteriors.posterior`.
        prior_kwargs: settings of the prior.
        posterior_kwargs: settings of the posterior.

    Raises:
        ValueError: unknown names or settings, or names that cannot be combined.
    """
    q = posterior(posterior_name, latent_dim, **(posterior_kwargs or {}))
    p = prior(prior_name, latent_dim, shape, **(prior_kwargs or {}))
    if isinstance(q, CategoricalPosterior):
        if prior_name != "standard":
            raise ValueError(f"posterior categorical requires prior standard, got {prior_name}")
        return CategoricalPrior(latent_dim, q.categories), q
    if prior_name == "vamp" and posterior_name != "gaussian":
        raise ValueError(f"prior vamp requires posterior gaussian, got {posterior_name}")
    return p, q


def check_objective(settings: Mapping[str, Any]) -> None:
    """Refuse settings of a VAE's objective that its latents or each other exclude.

    Args:
        settings: arguments of the VAE.

    Raises:
        ValueError: names the first.
    """
    for name in ("latent_dim", "iw_samples", "iwae_samples"):
        if settings[name] < 1:
            raise ValueError(f"{name} must be at least 1, got {settings[name]}")
    for name in ("kl_weight", "kl_warmup_steps", "free_bits"):
        if settings[name] < 0:
            raise ValueError(f"{name} must be at least 0, got {settings[name]}")
    if settings["objective"] not in OBJECTIVES:
        known = ", ".join(OBJECTIVES)
        raise ValueError(f"unknown objective {settings['objective']!r}; choose from {known}")
    sampled = settings["iw_samples"] > 1 or settings["path_gradient"]
    usual = settings["prior"] == "standard"
    normal = settings["posterior"] == "gaussian"
    if settings["free_bits"] and (sampled or not usual or settings["posterior"] in ("iaf", "full")):
        raise ValueError(
            "free_bits requires iw_samples=1, path_gradient=false and a KL term of each latent: "
            "prior=standard and posterior gaussian or categorical"
        )
    if settings["objective"] == "tc" and (
        sampled or settings["free_bits"] or not (usual and normal)
    ):
        raise ValueError(
            "objective tc requires prior=standard, posterior=gaussian, iw_samples=1, free_bits=0 "
            "and path_gradient=false"
        )
    if settings["path_gradient"] and not normal:
        raise ValueError(f"path_gradient requires posterior=gaussian, got {settings['posterior']}")
    if settings["posterior"] == "categorical" and settings["iw_samples"] > 1:
        raise ValueError("posterior categorical requires iw_samples=1: relaxed draws have no bound")
