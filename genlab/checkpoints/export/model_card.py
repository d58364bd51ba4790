"""The model card: what exported weights are, where they come from and how to load them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from genlab.checkpoints.export.timm_folder import Parts

TIMM = """\
model = timm.create_model("local-dir:DIR", pretrained=True, num_classes=0).eval()
settings = timm.data.resolve_model_data_config(model)
transform = timm.data.create_transform(**settings, is_training=False)
features = model(transform(image)[None])  # (1, {width})"""

TORCH = """\
program = torch.export.load("DIR/model.pt2").module()
{outputs} = program(image)  # {shape} in [0, 1]; any batch size"""

ONNX = """\
session = onnxruntime.InferenceSession("DIR/model.onnx")
{outputs} = session.run(None, {{"image": image}})  # {shape} float32 in [0, 1]; any batch size"""

NAMES = 20  # of the classes that the card lists

USE = {"timm": ("timm", TIMM), "torch": ("torch", TORCH), "onnx": ("onnxruntime", ONNX)}


@dataclass
class Origin:
    """Origin of exported weights.

    Attributes:
        method: class of the method.
        recipe: the resolved recipe.
        name: name of the recipe.
        figures: metrics measured on this checkpoint.
        facts: one line each: seed, step, versions ...
    """

    method: str
    recipe: dict[str, Any] = field(default_factory=dict)
    name: str = ""
    figures: dict[str, float | str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


def card(
    parts: Parts, origin: Origin, kind: str, license: str, repository: str | None = None
) -> str:
    """The text of README.md, with the header that a hub reads.

    Args:
        parts: exported parts.
        origin: origin of the weights.
        kind: ``timm``, ``torch`` or ``onnx``.
        license: an SPDX identifier, or ``other`` where none is stated.
        repository: on the hub, where the weights are to lie.
    """
    data = str((origin.recipe.get("data") or {}).get("class_path", "")).rpartition(".")[2]
    title = f"{parts.name}, {origin.method}" + (f" on {data}" if data else "")
    sections = [
        f"---\n{_header(parts, kind, license)}---",
        f"# {title}",
        _facts(parts, origin),
        "## Metrics\n\n" + _figures(origin.figures),
        "## Use\n\n" + _use(parts, kind, repository),
    ]
    if origin.recipe:
        own = {key: value for key, value in origin.recipe.items() if key != "track"}
        recipe = yaml.safe_dump(_public(own), sort_keys=False, width=100)
        sections.append(f"## Recipe\n\n```yaml\n{recipe}```")
    return "\n\n".join(sections) + "\n"


def _header(parts: Parts, kind: str, license: str) -> str:
    task = "image-classification" if parts.head is not None else "image-feature-extraction"
    library = {"timm": "timm", "torch": "pytorch", "onnx": "onnx"}[kind]
    header: dict[str, Any] = {"license": license.lower()}
    if license == "other":
        header["license_name"] = "not-stated"
    header |= {"library_name": library, "pipeline_tag": task, "tags": [library, "genlab", task]}
    return yaml.safe_dump(header, sort_keys=False)


def _facts(parts: Parts, origin: Origin) -> str:
    channels, height, width = parts.input_size
    numbers = sum(p.numel() for p in parts.encoder.backbone.parameters())
    mean, std = (", ".join(f"{x:.6g}" for x in parts.normalisation[k]) for k in ("mean", "std"))
    own = "each image by its own mean and standard deviation of each channel"
    lines = {
        "method": origin.method,
        "recipe": origin.name,
        "backbone": f"{parts.name}, {numbers:,} parameters, {parts.encoder.out_dim} features",
        "classes": _classes(parts),
        "images": f"{channels} x {height} x {width}, in [0, 1]",
        "normalisation": own if parts.encoder.normalize.per_image else f"mean {mean}; std {std}",
    } | origin.facts
    return "\n".join(f"- **{k}**: {v}" for k, v in lines.items() if v not in (None, ""))


def _classes(parts: Parts) -> str:
    """Number and names of the classes; all names are in config.json."""
    if not parts.num_classes:
        return "none: features only"
    names = parts.labels.get("label_names", [])
    shown = ", ".join(names[:NAMES]) + (" ..." if len(names) > NAMES else "")
    return f"{parts.num_classes}" + (f": {shown}" if names else "")


def _figures(figures: dict[str, float | str]) -> str:
    if not figures:
        return "None are recorded for this checkpoint."
    rows = [f"| {k} | {v if isinstance(v, str) else f'{v:.6g}'} |" for k, v in figures.items()]
    return "\n".join(["| metric | value |", "|---|---|", *rows])


def _use(parts: Parts, kind: str, repository: str | None) -> str:
    package, text = USE[kind]
    outputs = "features," if parts.head is None else "features, logits"
    shape = "(B, {}, {}, {})".format(*parts.input_size)
    code = text.format(width=parts.encoder.out_dim, outputs=outputs, shape=shape)
    own = "With genlab: `genlab fit RECIPE model.pretrained=DIR`." if kind != "onnx" else ""
    use = f"```python\nimport {package}\n\n{code}\n```" + (f"\n\n{own}" if own else "")
    if repository is None:
        return use
    on_hub = f"hf-hub:{repository}"
    return use.replace("local-dir:DIR", on_hub).replace("pretrained=DIR", f"pretrained={on_hub}")


def _public(value: Any) -> Any:
    """A recipe without this machine's folders and without secrets in addresses.

    Of an absolute path its last part is left; of a URL neither user and password nor the query.
    """
    if isinstance(value, dict):
        return {k: _public(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_public(v) for v in value]
    local = isinstance(value, str) and re.match(r"(/|~|[A-Za-z]:\\)", value)
    if isinstance(value, str):
        value = re.sub(r"(\w+://)[^/\s@]*@", r"\1", value)
        value = re.sub(r"(\w+://[^\s?#]*)[?#]\S*", r"\1", value)
    return f".../{Path(value).name}" if local else value
