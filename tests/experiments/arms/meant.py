"""Made results that mean a yes to the question of each shipped study."""

from __future__ import annotations

import numpy as np

from genlab.experiments.arms.question import Question
from genlab.experiments.arms.results import Values

YESES: dict[str, dict[str, list[float]]] = {  # of each deciding arm and metric, as people read it
    "bias_or_focal": {"bias": [0.9], "focal": [0.7]},
    "blur": {"three levels": [2], "one level": [6]},  # dB between the spectra
    "bottleneck": {"32 latents": [10], "8 latents": [15]},  # nats of error
    "byol_batch_norm": {"batch norm": [0.9], "group norm": [0.7]},
    "channel_correlation": {"trained": [0.9, 0.6]},  # Gram matrix, mean and deviation
    "class_swap": {"cvae": [0.9, 0.1]},  # given class, own class
    "convolution_keeps": {"trained": [0.6, 0.1]},  # error at the last depth, at the first
    "cosine_normalisation": {"cosine head": [0.9], "linear head": [0.7]},
    "critic_as_encoder": {"o-gan": [0.9], "wgan-gp": [0.7]},
    "cutting_and_stitching": {"cutout": [0.9], "plain": [0.7]},
    "dark_foreground": {"max, dark": [0.7], "max, bright": [0.9]},
    "denominator_drift": {"m 0": [0.5, 0.5], "m 0.5": [0.4, 0.6], "m 0.9": [0.3, 0.7],
                          "m 0.99": [0.2, 0.8], "m 0.999": [0.1, 0.9]},  # change, accuracy
    "detached_norm": {"layer norm": [0.9], "detached": [0.7]},
    "disentanglement": {"beta 4": [0.5], "beta 1": [0.2]},
    "em_and_l1": {"linear, 8 latents": [30, 20]},  # nats of the VAE, of PPCA
    "fixmatch_one_shot": {"fixmatch, 1": [0.9], "supervised, 1": [0.5]},
    "gamma_beta": {"adam": [0.9], "one step": [0.1]},
    "gan_roads": {"non-saturating": [3], "wgan-gp": [8]},  # modes
    "gradient_paths": {"64 latents": [2, 1.2]},  # line, descent
    "high_frequency": {"cnn": [0.8, 0.2]},  # share above half the highest, attack and image
    "identity_of_cvae_gan": {"cvae": [0.3], "vae": [0.9]},
    "independent_codes": {"transformer": [0.9, 0.1]},  # prior, independent codes
    "key_drift": {"m 0": [0.5, 0.5], "m 0.5": [0.4, 0.6], "m 0.9": [0.3, 0.7],
                  "m 0.99": [0.2, 0.8], "m 0.999": [0.1, 0.9]},  # drift, accuracy
    "lipschitz": {"penalty": [0.9], "clip": [0.1]},
    "local_response": {"local response": [0.9], "none": [0.7]},
    "moco_two_encoders": {"m 0.99": [0.9], "m 0, the same encoder": [0.6]},
    "occlusion_removal": {"2 latents": [0.8], "32 latents": [0.2]},
    "posterior_collapse": {"scale 0.1": [14], "scale 1": [3]},  # latents in use
    "shared_encoder_cost": {"batch 256": [0.9], "batch 32": [0.6]},
    "shuffled_grey_levels": {"in order": [0.9], "shuffled": [0.6]},
    "small_batches": {"group norm, 2": [0.9], "batch norm, 2": [0.6]},
    "smooth_gradients": {"relaxed": [1, 4]},  # errors of Gumbel and REINFORCE
    "stop_gradient": {"no stop-gradient": [1], "simsiam": [30]},  # directions
    "strong_augmentation": {"strong": [0.9], "weak": [0.6]},
    "thresholds": {"0.95": [0.9], "all pseudo-labels": [0.6]},
    "vanishing_gradients": {"sigmoid, batch norm": [-1], "sigmoid": [-12]},  # decades
    "vq_gan": {"vqgan": [0.9], "vqvae": [0.7]},
    "vq_vae_and_vae": {"gumbel with KL": [15], "gumbel without KL": [10]},  # nats of error
}  # fmt: skip
FACTOR = {"data_model_tricks": "data.limit"}  # what has most of the variance in a yes


def yes(question: Question) -> Values:
    """Results that mean a yes, with some noise between seeds."""
    generator, metrics = np.random.default_rng(0), question.decides.read
    if factor := FACTOR.get(question.name):
        levels = list(dict.fromkeys(arm.levels[factor] for arm in question.arms))
        told = {arm.name: [float(levels.index(arm.levels[factor]))] for arm in question.arms}
    else:
        told = YESES[question.name]
    return {
        arm: {
            seed: {
                name: value * (1 + abs(generator.normal()) / 1000)
                for name, value in zip(metrics, column, strict=True)
            }
            for seed in question.seeds
        }
        for arm, column in told.items()
    }
