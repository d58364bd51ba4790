"""Optimiser from a plain dictionary, with its schedule and its tricks built in.

The learning rate is set in a step hook of the optimiser itself, and the schedule's step counter
lives in ``param_groups``: it counts optimiser steps whatever the gradient accumulation, a step
skipped by the gradient scaler does not move it, it is saved and loaded with the optimiser, and a
step costs a few microseconds where Lightning's scheduler machinery costs a millisecond. Adaptive
clipping and SAM are hooks as well: they wrap the closure that Lightning hands to ``step``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning as L
import torch

from genlab.internals import lightning_parts, timm_parts
from genlab.optim import clip, names, sam, schedules
from genlab.optim.checking import DEFAULTS, arguments, check
from genlab.optim.groups import parameter_groups


def build(
    module: L.LightningModule,
    settings: dict[str, Any] | None = None,
    part: str | Sequence[str] | None = None,
    repeats: int = 1,
) -> torch.optim.Optimizer:
    """Build the optimiser of the module's trainable parameters, its schedule and hooks included.

    Args:
        module: the method; its trainer (if any) tells the number of optimiser steps and the batch.
        settings: any of

            *The optimiser*

            - ``name``: an optimiser of timm (``adam``, ``adamw``, ``lamb``, ``lion`` ...; ``sgd``
              is with Nesterov momentum 0.9, ``momentum`` without Nesterov), ``lookahead_`` before
              such a name, or one of torch's that timm lacks (``asgd``, ``rprop``, ``lbfgs``);
              ``torch.adafactor`` is torch's own where timm has one of the same name; ``lars`` is
              genlab's own, see `lars`
            - ``lr``: peak learning rate
            - ``lr_batch``: lr is meant for this global batch and scales linearly with it
            - ``weight_decay``: applied to matrices and kernels, not to norms, biases and other
              one-dimensional parameters, nor to what a network's ``no_weight_decay()`` names
              (position embeddings, class tokens)
            - ``spare_vectors`` (true): false applies weight decay, and the rates of ``lars``, to
              norms, biases and the others too, as SwAV's LARC does
            - ``final_weight_decay``: weight decay at the end of the run, to which it moves along a
              half cosine; without it the decay is constant

            *Different learning rates*

            - ``lr_scale``: ``{head: 10, encoder: 0.1}``, a factor for each named part of the method
            - ``layer_decay``: inside the encoder, the learning rate falls by this factor with every
              layer away from the head (0.65 to 0.9 is usual in fine-tuning)
            - ``patch_embed_lr``: factor for a ViT's patch embedding, times its layer's (0.2 in
              DINOv2, arXiv:2304.07193)
            - ``spared_lr``: factor for norms, biases and whatever else ``weight_decay`` spares
            - ``fixed_lr``: ``[predictor]``, parts of the method that no schedule touches

            *Schedule*

            - ``schedule``: ``constant``; ``cosine`` or ``linear`` (down to ``final_lr`` * lr);
              ``cosine_7_16`` (FixMatch's cos(7 pi k / 16 K)); ``step``; ``onecycle``
            - ``warmup_steps`` or ``warmup_epochs``: linear warm-up, first step at lr / warm-up
            - ``final_lr``: the last learning rate as a fraction of the peak
            - ``milestones``, ``milestone_factor`` (0.1): of ``step``; where lr is multiplied by the
              factor, as fractions of the run (all below 1) or as epochs
            - ``pct_start`` (0.3): of ``onecycle``; share of the run in which lr rises to its peak
            - ``div_factor`` (25): of ``onecycle``; the peak divided by the first lr
            - ``final_div_factor`` (1e4): of ``onecycle``; the first lr divided by the last
            - ``cycle_momentum`` (true): of ``onecycle``; momentum falls while lr rises, and back
            - ``base_momentum`` (0.85), ``max_momentum`` (0.95): of ``onecycle``; momentum at the
              peak of lr, and at both ends

            *Tricks*

            - ``agc``: adaptive gradient clipping, with this clipping factor (0.01); see `clip`
            - ``clip_each``: largest norm of each parameter tensor's gradient (DINO's 3); see `clip`
            - ``sam``: sharpness-aware minimisation, with this radius (0.05); ``sam_adaptive``:
              scale-invariant (ASAM; its radius is ten times larger); see `sam`

            *Arguments of the optimiser's own class*, handed on as they are; among them

            - ``betas``: fractions kept of Adam's running means of gradients and of their squares
            - ``momentum``: fraction of the last update that the next one keeps
            - ``eps``: number added to a denominator that could be 0

        part: child of the module to train, or several, where children have optimisers of their own.
        repeats: steps of this optimiser for each that the schedule counts.

    Clipping by the norm of all is ``trainer.gradient_clip_val``; it comes before the others.

    Raises:
        ValueError: a wrong setting (`check`), or a schedule without a number of steps.
    """
    options = DEFAULTS | (settings or {})
    check(settings, module, lightning_parts.trainer_of(module))
    name = str(options["name"])
    lr = float(options["lr"]) * _batch_factor(module, options["lr_batch"])
    groups = parameter_groups(
        module,
        lr,
        float(options["weight_decay"]),
        options["lr_scale"],
        options["layer_decay"],
        options["fixed_lr"] or (),
        part,
        float(options["spared_lr"]),
        float(options["patch_embed_lr"]),
        spare=options["spare_vectors"],
    )
    if name in names.ONE_GROUP:
        groups = [{"params": [p for group in groups for p in group["params"]]}]
    optimizer = names.create(name, groups, lr, arguments(options))
    if names.second_order(name):
        names.keep_graph(module)
    inner = timm_parts.inner_optimizer(optimizer)
    schedules.attach(inner, module, options, repeats)
    if options["sam"] is not None:
        sam.attach(inner, module, float(options["sam"]), bool(options["sam_adaptive"]))
    if options["agc"] is not None:
        clip.attach(inner, module, float(options["agc"]))
    if options["clip_each"] is not None:
        clip.attach_each(inner, float(options["clip_each"]))
    return optimizer


def _batch_factor(module: L.LightningModule, lr_batch: int | None) -> float:
    if lr_batch is None:
        return 1.0
    data = getattr(lightning_parts.trainer_of(module), "datamodule", None)
    if data is None:
        raise ValueError("lr_batch requires a data module that knows its batch_size")
    return float(data.batch_size) / lr_batch
