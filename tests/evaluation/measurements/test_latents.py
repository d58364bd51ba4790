"""Measurements of latents: PPCA beside a linear VAE, gradients through codes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from genlab.data import Digits
from genlab.evaluation import measurements
from genlab.evaluation.measurements.code_gradients import ESTIMATORS
from genlab.losses.likelihood import NARROWEST
from genlab.methods import VAE, VQVAE
from genlab.metrics import ppca


@pytest.fixture(scope="module")
def data() -> Digits:
    found = Digits(batch_size=64, val_size=200)
    found.setup("test")
    return found


def test_a_linear_vae_at_ppcas_optimum_has_its_likelihood(data: Digits) -> None:
    model = VAE(image_size=8, latent_dim=3, hidden_dims=[], likelihood="gaussian", scale="shared")
    found = measurements.measure("ppca", model.eval(), data).figures
    assert found["ppca_em_nll"] == pytest.approx(found["ppca_nll"], abs=1e-3)
    train, test = (
        torch.cat([data.to_device(raw)["image"] for raw in data.bank_dataloader(split)])
        for split in ("train", "test")
    )
    best = ppca.closed_form(train.flatten(1), 3)  # columns of W are orthogonal: M is diagonal
    inner = (best.weight.T @ best.weight).diagonal() + best.variance
    network: Any = model.decoder.network
    encoder: Any = model.encoder[1][0]
    with torch.no_grad():
        network.decoder[0][0].weight.copy_(best.weight)
        network.decoder[0][0].bias.copy_(best.mean)
        project = best.weight.T / inner[:, None]
        encoder.weight.copy_(torch.cat([project, torch.zeros_like(project)]))
        log_variance = (best.variance / inner).log()
        encoder.bias.copy_(torch.cat([-project @ best.mean, log_variance]))
        floor = NARROWEST["gaussian"]
        network.value.fill_(floor + (best.variance.sqrt().log() - floor).expm1().log())
        nll = -model.iwae(test, 1)  # the posterior is exact: every draw gives log p(x)
    torch.testing.assert_close(nll.double(), -best.log_prob(test.flatten(1)), atol=0.02, rtol=1e-4)
    assert float(nll.mean()) == pytest.approx(found["ppca_nll"], abs=1e-2)


def test_estimates_of_gradients_through_a_code(data: Digits) -> None:
    torch.manual_seed(0)
    model = VQVAE(channels=1, image_size=8, num_codes=8, code_dim=4, hidden=8, downsamplings=1,
                  codebook="gumbel")  # fmt: skip
    state = torch.get_rng_state()
    found = measurements.measure("code_gradients", model.eval(), data).figures
    assert torch.equal(state, torch.get_rng_state())
    assert len(found) == 3 * len(ESTIMATORS)
    for name in ("reinforce", "reinforce_baseline"):  # without bias, but for the noise of draws
        assert abs(found[f"gradient_bias_{name}"]) < 5 * found[f"gradient_variance_{name}"] / 200
    assert found["gradient_error_reinforce_baseline"] < found["gradient_error_reinforce"] / 2
    assert found["gradient_variance_gumbel_cold"] > found["gradient_variance_gumbel"]


@pytest.mark.parametrize(
    ("name", "said"),
    [("ppca", "VQVAE has no latent_dim"), ("code_gradients", "with codebook: gumbel")],
)
def test_methods_without_what_is_measured_are_refused(data: Digits, name: str, said: str) -> None:
    model = VQVAE(channels=1, image_size=8, num_codes=8, code_dim=4, hidden=8, downsamplings=1)
    with pytest.raises(ValueError, match=said):
        measurements.measure(name, model, data)
