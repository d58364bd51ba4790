"""Features or predictions of every image of a split, as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from genlab.contracts import Classifies, HasFileNames, HasProbabilities

Arrays = dict[str, np.ndarray]


@torch.no_grad()
def embed(method: Any, data: Any, split: str = "test", predict: bool = False) -> Arrays:
    """Features or predictions of the images of a split, never augmented, in eval mode.

    Args:
        method: method whose ``forward`` gives the features, and its ``logits`` the predictions.
        data: a data module of genlab.
        split: ``train``, ``val``, ``test``, or ``all``: every image once, those of files by name.
        predict: True for class probabilities instead of features.

    Returns:
        ``features`` (N, F) or ``probabilities`` (N, K) with ``prediction`` (N,); and ``label``,
        ``index`` (N,). Where the classes have names: ``classes`` (K,), and ``predicted`` (N,), the
        prediction's. With ``all``: ``split`` (N,), or ``path`` (N,) where images are files.

    Raises:
        ValueError: predictions of a method that does not classify.
    """
    if predict and not isinstance(method, Classifies):
        raise ValueError(
            f"{type(method).__name__} is not a classifier; genlab embed gives features"
        )
    method.eval()
    if split == "all":
        arrays = _of_all(method, data, predict)
    else:
        arrays = _outputs(method, data, data.bank_dataloader(split), predict)
    output = arrays.pop("output")
    if not predict:
        return {"features": output.reshape(len(output), -1)} | arrays
    arrays |= {"probabilities": output, "prediction": output.argmax(1)}
    names = np.array([str(name) for name in getattr(data, "classes", ())])
    if len(names) != output.shape[1]:
        return arrays
    return arrays | {"classes": names, "predicted": names[arrays["prediction"]]}


def _of_all(method: Any, data: Any, predict: bool) -> Arrays:
    """Outputs for the images of all splits; each file once, in the order of names."""
    parts = []
    for name, loader in data.every_image():
        found = _outputs(method, data, loader, predict)
        if isinstance(data, HasFileNames):
            found["path"] = np.array(data.file_names(name, found["index"].tolist()))
        else:
            found["split"] = np.full(len(found["index"]), name)
        parts.append(found)
    arrays = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    if "path" not in arrays:
        return arrays
    once = np.unique(arrays["path"], return_index=True)[1]  # a broken image was replaced
    return {key: values[once] for key, values in arrays.items()}


def _outputs(method: Any, data: Any, loader: Any, predict: bool) -> Arrays:
    """``label``, ``index`` (N,) and ``output`` (N, ...) of a loader's images."""
    rows: dict[str, list[torch.Tensor]] = {"label": [], "index": [], "output": []}
    for raw in loader:
        batch = data.to_device(raw, method.device)
        image = batch["image"]
        output = _probabilities(method, method.logits(image)) if predict else method(image)
        for key, value in (
            ("label", batch["label"]),
            ("index", batch["index"]),
            ("output", output),
        ):
            rows[key].append(value.cpu())
    return {key: torch.cat(parts).numpy() for key, parts in rows.items()}


def _probabilities(method: Any, logits: torch.Tensor) -> torch.Tensor:
    """The method's own map to probabilities (a sigmoid for binary losses), else the softmax."""
    own = isinstance(method, HasProbabilities)
    return method.probabilities(logits) if own else logits.softmax(1)
