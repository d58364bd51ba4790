"""Flow matching: its loss, pairs over processes, guidance, densities, averages and refusals."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genlab import losses
from genlab.callbacks import pictures, plane_pictures
from genlab.data import Digits, Toys
from genlab.methods._continuous import ContinuousFlow
from genlab.methods.diffusion import Diffusion
from genlab.methods.flow_matching import FlowMatching
from genlab.testing.ranks import Ranks
from tests.callbacks.tiny import trainer
from tests.methods.programs_flow_matching import TINY, paired, tiny
from tests.networks.test_odes import gaussian

POINTS: dict[str, Any] = {"channels": 2, "image_size": 1, "preprocess": "none", "network": "mlp"}


def batch(n: int = 6) -> Any:
    torch.manual_seed(3)
    image = torch.randint(0, 17, (n, 1, 8, 8)) / 16
    return {"image": image, "label": torch.arange(n) % 3, "index": torch.arange(n)}


class Known(nn.Module):
    """A velocity given as a function, in place of the averaged network."""

    def __init__(self, velocity: Any) -> None:
        super().__init__()
        self.velocity, self.labels = velocity, list[Tensor | None]()

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        self.labels.append(label)
        out: Tensor = self.velocity(x, t) if label is None else self.velocity(x, t) + 1
        return out


def knowing(velocity: Any, **options: Any) -> tuple[FlowMatching, Known]:
    method = tiny(**options)
    known = Known(velocity)
    method.velocity_ema.average = known
    return method, known


@pytest.mark.parametrize("path", losses.PATHS)
def test_a_fresh_networks_loss_is_the_velocitys_square(path: str) -> None:
    kwargs = {"width": 8, "multipliers": [1, 2]}
    method = tiny(path=path, network="unet", network_kwargs=kwargs, pairing="transport")
    whole = batch()
    image = whole["image"]
    torch.manual_seed(7)
    found = method.training_step(whole, 0)["loss"].detach()
    torch.manual_seed(7)
    cell = torch.rand_like(image)
    data = 2 * (16 * image + cell) / 17 - 1
    noise, t = torch.randn_like(data), torch.rand(len(data))
    noise = noise[losses.transport_pairs(noise, data)]
    _, velocity = losses.path_point(path, noise, data, t)
    torch.testing.assert_close(found, velocity.square().sum((1, 2, 3)).mean())


@pytest.mark.parametrize("conditional", [False, True])
def test_processes_pair_the_global_batch(conditional: bool, ranks: Ranks) -> None:
    whole = paired(0, 1, conditional)
    parts = ranks.run("tests.methods.programs_flow_matching:paired", 2, conditional)
    shared = parts[0] | parts[1]
    assert shared.keys() == whole.keys()
    for row, one in whole.items():
        torch.testing.assert_close(shared[row], one, rtol=0, atol=0)
    torch.manual_seed(2)
    assert any(not one.equal(torch.randn(1, 8, 8)) for one in whole.values())


def test_labels_are_hidden_image_by_image() -> None:
    method = tiny(conditional=True, label_dropout=0.4)
    seen: list[Tensor] = []
    method.velocity.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[2]))
    many = batch(600)
    method.training_step(many, 0)
    hidden = seen[0] < 0
    assert float(hidden.float().mean()) == pytest.approx(0.4, abs=0.07)
    assert seen[0][~hidden].equal(many["label"][~hidden])
    method.validation_step(many, 0)
    assert many["label"].equal(torch.arange(600) % 3)


def test_guidance_goes_beyond_the_class() -> None:
    """V_c + w (v_c - v_u), of v_u = 0 and v_c = 1, is 1 + w: an end of noise + 1 + w."""
    plain: dict[str, Any] = {"conditional": True, "preprocess": "none"}
    for weight, calls in ((0.0, 8), (0.5, 16)):
        method, known = knowing(lambda x, t: 0 * x, guidance=weight, **plain)
        z = torch.zeros(2, 64)
        end = method.decode(z, torch.tensor([0, 2]))
        torch.testing.assert_close(end, torch.full_like(end, 1 + weight))
        assert method.nfe == len(known.labels) == calls
    end = method.decode(z)
    torch.testing.assert_close(end, torch.zeros_like(end))
    assert method.nfe == 8  # no class, no guidance


def test_samples_are_levels_of_every_class_in_turn() -> None:
    method, known = knowing(lambda x, t: 0 * x, conditional=True)
    images = method.sample(5)
    assert images.shape == (5, 1, 8, 8)
    torch.testing.assert_close((images * 16).round(), images * 16)
    assert [label.tolist() for label in known.labels[:1] if label is not None] == [[0, 1, 2, 0, 1]]
    assert method.sample(2, temperature=0.0).std() == 0


@pytest.mark.parametrize("kind", ["images", "points"])
def test_captions_of_samples_say_how_often_the_network_was_evaluated(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: dict[str, str] = {}

    def publish(trainer: Any, name: str, picture: Any, step: int, note: str = "") -> None:
        notes[name] = note

    for module in (pictures, plane_pictures):
        monkeypatch.setattr(module, "publish", publish)
    callbacks = pictures.Pictures(1, 4), plane_pictures.PlanePictures(1, 50)
    method, data = tiny(num_classes=10), Digits(batch_size=64, val_size=64)
    if kind == "points":
        given = POINTS | {"solver_steps": 4, "likelihood_steps": 1, "network_kwargs": {}}
        method, data = FlowMatching(**given), Toys(size=64, held_out=60, batch_size=32)  # type: ignore[assignment]
    trainer(tmp_path, *callbacks, max_epochs=1).fit(method, data)
    told = "8 evaluations of the network for each sample."
    assert notes["samples"] == told
    assert notes.get("plane", told) == told
    assert ("plane" in notes) is (kind == "points")
    assert notes.keys() <= {"samples", "plane"}


def test_encode_and_decode_are_inverses() -> None:
    method = tiny(preprocess="none", solver="rk4", solver_steps=30).double()
    image = batch()["image"].double()
    torch.testing.assert_close(method.decode(method.encode(image)), image, rtol=0, atol=1e-6)
    paths = method.interpolate(image[:2], image[2:4], 3)
    assert paths.shape == (2, 3, 1, 8, 8)
    torch.testing.assert_close(paths[:, 0], image[:2], rtol=0, atol=1e-6)


@pytest.mark.parametrize("probes", [0, 2])
def test_densities_of_points_are_exact(probes: int) -> None:
    method, _ = knowing(gaussian, **POINTS, network_kwargs={}, probes=probes, likelihood_steps=32)
    found = method.log_prob(torch.ones(3, 2, 1, 1).double())
    torch.testing.assert_close(found, torch.full_like(found, 2 * -1.2057913526), rtol=0, atol=1e-5)
    assert method.nfe == 128


def test_densities_of_images_are_of_levels() -> None:
    """Of noise that stays as it is: log N(y) of y in [-1, 1) plus the cells' log-size, 2 / 17."""
    method, _ = knowing(lambda x, t: 0 * x)
    found = method.log_prob(torch.full((4000, 1, 8, 8), 0.5))
    edges = torch.tensor([8, 9]).double() / 17 * 2 - 1
    y2 = (edges[1] ** 3 - edges[0] ** 3) / 3 / (edges[1] - edges[0])
    expected = -0.5 * (float(y2) + math.log(2 * math.pi)) + math.log(2 / 17)
    assert float(found.mean()) == pytest.approx(64 * expected, abs=0.01)


@pytest.mark.parametrize("kind", [FlowMatching, Diffusion])
def test_densities_of_constant_bytes_by_the_default_grid(
    kind: type[ContinuousFlow], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exact velocity of N(m, (2 / 256)^2 / 12), of mean m in the cell's middle."""
    mean, spread = 1 / 256 - 1, 2 / 256 / math.sqrt(12)

    def narrow(x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        t = t.view(-1, 1, 1, 1)
        wide = t**2 * spread**2 + (1 - t) ** 2
        return mean + (t * spread**2 - (1 - t)) / wide * (x - t * mean)

    image, found = torch.zeros(20, 1, 8, 8).double(), {}
    for steps in (20, 40):
        options = {} if steps == 20 else {"likelihood_steps": steps}
        method: Any = kind(1, 8, network="mlp", network_kwargs={"hidden_dims": [8]}, **options)
        monkeypatch.setattr(method, "velocity_at", narrow)
        torch.manual_seed(0)
        found[steps] = method.log_prob(image) / 64
    torch.manual_seed(0)
    offset = torch.rand_like(image) - 0.5  # in cells, of variance 1 / 12
    exact = (-6 * offset**2 - 0.5 * math.log(2 * math.pi / 12)).mean((1, 2, 3))
    torch.testing.assert_close(found[20], exact, rtol=0, atol=0.007)  # 0.01 bits per dimension
    torch.testing.assert_close(found[40], found[20], rtol=0, atol=0.007)


def test_figures_belong_to_the_image_and_not_to_its_batch() -> None:
    method, every = tiny(test_likelihood=True).double(), batch()
    every["image"] = every["image"].double()
    whole = method.test_step(every, 0)
    torch.manual_seed(99)
    with torch.inference_mode():
        some: Any = method
        parts = [
            some.test_step({k: v[rows] for k, v in every.items()}, 0)
            for rows in (slice(0, 2), slice(2, 6))
        ]
    for name in ("loss", "nll", "bits_per_dim"):
        mean = (2 * parts[0][name] + 4 * parts[1][name]) / 6
        torch.testing.assert_close(whole[name].double(), mean.double())
    assert float(whole["density_nfe"]) == 16
    bits = whole["nll"] / (64 * math.log(2))
    torch.testing.assert_close(whole["bits_per_dim"], bits)


def test_the_average_moves_once_per_optimiser_step_and_samples(tmp_path: Path) -> None:
    method = FlowMatching(**POINTS, ema_decay=0.9, network_kwargs={"hidden_dims": [8]},
                          optimizer={"name": "torch.sgd", "lr": 0.01})  # fmt: skip
    first = [p.detach().clone() for p in method.velocity.parameters()]
    data = Toys("two_moons", size=64, held_out=8, batch_size=32)
    options: dict[str, Any] = {"max_steps": 1, "max_epochs": -1, "accumulate_grad_batches": 2}
    trainer(tmp_path, **options).fit(method, data)
    pairs = zip(first, method.velocity.parameters(), method.velocity_ema.parameters(), strict=True)
    for start, now, mean in pairs:
        assert not start.equal(now)
        torch.testing.assert_close(mean, start.lerp(now.detach(), 1 - 2 / 11))
    z = torch.zeros(1, 2)
    before = method.decode(z)
    with torch.no_grad():
        for p in method.velocity.parameters():
            p.fill_(9)
    assert method.decode(z).equal(before)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"path": "bent"}, "unknown path 'bent'"),
        ({"pairing": "ot"}, "unknown pairing 'ot'; choose from independent, transport"),
        ({"solver": "eul"}, "unknown solver 'eul'"),
        ({"likelihood_steps": 0}, "likelihood_steps must be at least 1, got 0"),
        ({"label_dropout": 1.0}, r"label_dropout 1.0 must lie in \[0, 1\)"),
        ({"guidance": 1.0}, "guidance requires conditional=true"),
        ({"guidance": 1.0, "conditional": True, "label_dropout": 0.0}, "label_dropout above 0"),
        ({"conditional": True, "num_classes": 0}, "conditional requires classes"),
        ({"probes": -1}, "must be at least 0"),
        ({"network": "vit"}, "unknown network 'vit'"),
    ],
)
def test_refusals(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        FlowMatching(**TINY | options)
