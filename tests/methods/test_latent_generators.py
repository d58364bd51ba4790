"""Flow matching and diffusion of the latents of another run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import genlab
from genlab import checkpoints
from genlab.data import Digits
from genlab.methods.diffusion import Diffusion
from genlab.methods.flow_matching import FlowMatching
from genlab.methods.vae import VAE
from genlab.methods.vqvae import VQVAE
from tests.callbacks.tiny import trainer
from tests.methods.test_vq_prior import VQ
from tests.networks.test_latent_space import DENSE

KINDS: dict[str, Any] = {"flow_matching": FlowMatching, "diffusion": Diffusion}
SMALL: dict[str, Any] = {"network": "mlp", "network_kwargs": {"hidden_dims": [16]}}
NAMED: dict[str, Any] = {"vae": (VAE, DENSE), "vqvae": (VQVAE, VQ)}


def made(kind: str, space: str, **options: Any) -> Any:
    torch.manual_seed(0)
    method, given = NAMED[space]
    spec = checkpoints.spec(method(**given))
    return KINDS[kind](1, 8, 10, space_spec=spec, **SMALL | options)


@pytest.mark.parametrize("space", NAMED)
@pytest.mark.parametrize("kind", KINDS)
def test_it_trains_on_standardised_latents_and_samples_images(
    kind: str, space: str, tmp_path: Path
) -> None:
    method = made(kind, space)
    before = {k: v.clone() for k, v in method.pixels.autoencoder.state_dict().items()}
    data = Digits(batch_size=64, val_size=64, limit=256)
    trainer(tmp_path, max_steps=2).fit(method, data)
    assert method.pixels.fitted
    after = method.pixels.autoencoder.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    image = data.to_device(next(iter(data.bank_dataloader("train"))))["image"]
    z, _ = method.pixels(image, image)
    assert z.shape[1:] == method.shape
    assert float(z.std()) == pytest.approx(1, abs=0.2)
    drawn = method.sample(3)
    assert drawn.shape == (3, 1, 8, 8)
    assert 0 <= float(drawn.min()) <= float(drawn.max()) <= 1
    assert method.nfe > 1
    assert method.encode(image[:2]).shape == (2, z[0].numel())
    file = tmp_path / "again.ckpt"
    torch.save({"state_dict": method.state_dict(), "hyper_parameters": dict(method.hparams),
                "genlab": {"class_path": f"{type(method).__module__}.{type(method).__name__}"}},
               file)  # fmt: skip
    again: Any = checkpoints.load(file)
    assert again.hparams["space"] is None
    torch.manual_seed(1)
    first = method.eval().sample(2)
    torch.manual_seed(1)
    torch.testing.assert_close(again.sample(2), first)


def test_a_run_is_named_and_told(here: Any) -> None:
    small = {"trainer.max_epochs": 1, "trainer.limit_train_batches": 3, "track.wandb": "off"}
    first = genlab.fit("vqvae/digits", small)
    words = {"model.space": str(first.path), "model.test_likelihood": False} | small
    run = genlab.fit("flow_matching/digits", words | {"model.solver_steps": 1})
    method: Any = run.method
    assert method.sample(2).shape == (2, 1, 8, 8)
    assert first.path.name in (run.path / "run.json").read_text()


def test_densities_are_refused() -> None:
    with pytest.raises(ValueError, match=r"requires pixels.* set model\.test_likelihood=false"):
        made("flow_matching", "vae", test_likelihood=True)
    method = made("diffusion", "vae")
    with pytest.raises(ValueError, match="log_prob requires pixels"):
        method.log_prob(torch.rand(2, 1, 8, 8))
