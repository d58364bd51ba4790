"""Features of inner places: a stage of the encoder, or the output of any module."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from genlab import methods
from genlab.evaluation.places import AtModule, at


def test_a_module_s_output_is_read_as_its_quarters_means() -> None:
    model = methods.Classifier(image_size=8, encoder_kwargs={"width": 4}).eval()
    image = torch.rand(3, 1, 8, 8)
    first = next(n for n, m in model.encoder.named_modules() if isinstance(m, nn.Conv2d))
    conv = dict(model.encoder.named_modules())[first]
    found = at(model, f"encoder.{first}")(image)
    torch.testing.assert_close(found, F.adaptive_avg_pool2d(conv(image), 2).flatten(1))
    torch.testing.assert_close(at(model, "encoder")(image), model(image))
    assert at(model, "") is model
    assert at(model, "stage 0")(image).shape[0] == 3
    with pytest.raises(ValueError, match="head has no output that can be read"):
        AtModule(model, "head")(image)  # features do not pass through the head
    with pytest.raises(ValueError, match="Classifier has no module encodr"):
        at(model, "encodr")
