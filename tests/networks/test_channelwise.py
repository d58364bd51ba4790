"""A dense layer of the places of each channel."""

from __future__ import annotations

import torch

from genlab.networks.channelwise import ChannelwiseDense


def test_channels_do_not_mix_and_places_do() -> None:
    dense = ChannelwiseDense(3, 2)
    x = torch.rand(2, 3, 2, 2, requires_grad=True)
    out = dense(x)
    slow = torch.stack([x[:, c].flatten(1) @ dense.weight[c] for c in range(3)], 1)
    torch.testing.assert_close(out, slow.view_as(x) + dense.bias)
    out[:, 1].sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad.abs().sum((0, 2, 3)) > 0, torch.tensor([False, True, False]))
    assert bool((x.grad[:, 1] != 0).all())
