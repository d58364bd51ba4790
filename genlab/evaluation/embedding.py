"""Features or predictions of every image of a split, as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from genlab.contracts import Classifies, HasProbabilities


@torch.no_grad()
def embed(
    method: Any, data: Any, split: str = "test", predict: bool = False
) -> dict[str, np.ndarray]:
    """Features or predictions of the images of a split, never augmented, in eval mode.

    Args:
        method: method whose ``forward`` gives the features, and its ``logits`` the predictions.
        data: a data module of genlab.
        split: ``train``, ``val`` or ``test``.
        predict: True for class probabilities instead of features.

    Returns:
        ``features`` (N, F) or ``probabilities`` (N, K) with ``prediction`` (N,); and ``label``,
        ``index`` (N,). Where the classes have names: ``classes`` (K,), and ``predicted`` (N,), the
        prediction's.

    Raises:
        ValueError: predictions of a method that does not classify.
    """
    if predict and not isinstance(method, Classifies):
        raise ValueError(
            f"{type(method).__name__} is not a classifier; genlab embed gives features"
        )
    method.eval()
    rows: dict[str, list[torch.Tensor]] = {"label": [], "index": [], "output": []}
    for raw in data.bank_dataloader(split):
        batch = data.to_device(raw, method.device)
        image = batch["image"]
        output = _probabilities(method, method.logits(image)) if predict else method(image)
        for key, value in (
            ("label", batch["label"]),
            ("index", batch["index"]),
            ("output", output),
        ):
            rows[key].append(value.cpu())
    arrays = {key: torch.cat(parts).numpy() for key, parts in rows.items()}
    output = arrays.pop("output")
    if not predict:
        return {"features": output.reshape(len(output), -1)} | arrays
    arrays |= {"probabilities": output, "prediction": output.argmax(1)}
    names = np.array([str(name) for name in getattr(data, "classes", ())])
    if len(names) != output.shape[1]:
        return arrays
    return arrays | {"classes": names, "predicted": names[arrays["prediction"]]}


def _probabilities(method: Any, logits: torch.Tensor) -> torch.Tensor:
    """The method's own map to probabilities (a sigmoid for binary losses), else the softmax."""
    own = isinstance(method, HasProbabilities)
    return method.probabilities(logits) if own else logits.softmax(1)
