"""Losses: pure functions of tensors; each docstring says what is summed and what averaged.

`contrastive`, `denominators`, `supcon`, `agreement`, `redundancy`, `isotropy`, `koleo`,
`prototypes`, `self_distillation`, `sinkhorn` and `masked` serve self-supervised methods,
`pseudo_label` and `consistency` semi-supervised ones,
`classification` supervised ones; `likelihood`, `kl`, `total_correlation`, `iwae` and `vq`
autoencoders and priors, `perceptual` those with a critic, `discrete_gradients` those with codes;
`adversarial`, `gradient_penalties` and `orthogonal` GANs; `paths` flow matching; `pretext`
pretext tasks. `numbers` makes and widens tensors.
"""

from genlab.losses.adversarial import OBJECTIVES, critic_loss, generator_loss
from genlab.losses.agreement import negative_cosine, normalised_distance
from genlab.losses.classification import CLASS_LOSSES, class_nll, flooding
from genlab.losses.consistency import prediction_entropy, prediction_kl, probability_distance
from genlab.losses.contrastive import (
    batch_nce,
    info_nce,
    info_nce_in_batch,
    instance_nll,
    nt_xent,
)
from genlab.losses.denominators import (
    denominator,
    denominator_of_keys,
    denominator_of_views,
)
from genlab.losses.gradient_penalties import (
    between,
    gradient_norm,
    gradient_penalty,
    judged,
    scores_and_slopes,
)
from genlab.losses.isotropy import sigreg
from genlab.losses.iwae import iwae_bound
from genlab.losses.kl import free_bits, kl_normal, kl_standard_normal, normal_log_prob
from genlab.losses.koleo import koleo, koleo_of_equal
from genlab.losses.likelihood import (
    LIKELIHOODS,
    bernoulli_nll,
    bits_per_dim,
    discretized_logistic_nll,
    gaussian_nll,
    maps_per_channel,
    pixel_mean,
    pixel_nll,
)
from genlab.losses.masked import (
    explained,
    masked_patches,
    masked_pixels,
    masked_sums,
    patch_sums,
    pixel_sums,
    spread_over_images,
    standardised,
    standardised_over_images,
    token_distance,
)
from genlab.losses.orthogonal import orthogonal_loss, row_correlation, standardised_code
from genlab.losses.paths import PATHS, path_point, path_weights, transport_pairs, velocity_error
from genlab.losses.pretext import soft_code_nll, task_nll
from genlab.losses.prototypes import cluster_nll, prototype_scores, swapped_prediction
from genlab.losses.pseudo_label import class_fairness, pseudo_label_nll, sharpen
from genlab.losses.redundancy import (
    cross_correlation,
    redundancy_reduction,
    variance_invariance_covariance,
)
from genlab.losses.self_distillation import (
    centred_target,
    check_self_distillation,
    information,
    masked_distillation,
    moved_centre,
    patch_weights,
    score_total,
    warmed_temperature,
)
from genlab.losses.sinkhorn import sinkhorn
from genlab.losses.supcon import supervised_contrastive
from genlab.losses.total_correlation import kl_parts, stratified_log_weights
from genlab.losses.vq import code_nll, commitment

__all__ = [
    "CLASS_LOSSES",
    "LIKELIHOODS",
    "OBJECTIVES",
    "PATHS",
    "batch_nce",
    "bernoulli_nll",
    "between",
    "bits_per_dim",
    "centred_target",
    "check_self_distillation",
    "class_fairness",
    "class_nll",
    "cluster_nll",
    "code_nll",
    "commitment",
    "critic_loss",
    "cross_correlation",
    "denominator",
    "denominator_of_keys",
    "denominator_of_views",
    "discretized_logistic_nll",
    "explained",
    "flooding",
    "free_bits",
    "gaussian_nll",
    "generator_loss",
    "gradient_norm",
    "gradient_penalty",
    "info_nce",
    "info_nce_in_batch",
    "information",
    "instance_nll",
    "iwae_bound",
    "judged",
    "kl_normal",
    "kl_parts",
    "kl_standard_normal",
    "koleo",
    "koleo_of_equal",
    "maps_per_channel",
    "masked_distillation",
    "masked_patches",
    "masked_pixels",
    "masked_sums",
    "moved_centre",
    "negative_cosine",
    "normal_log_prob",
    "normalised_distance",
    "nt_xent",
    "orthogonal_loss",
    "patch_sums",
    "patch_weights",
    "path_point",
    "path_weights",
    "pixel_mean",
    "pixel_nll",
    "pixel_sums",
    "prediction_entropy",
    "prediction_kl",
    "probability_distance",
    "prototype_scores",
    "pseudo_label_nll",
    "redundancy_reduction",
    "row_correlation",
    "score_total",
    "scores_and_slopes",
    "sharpen",
    "sigreg",
    "sinkhorn",
    "soft_code_nll",
    "spread_over_images",
    "standardised",
    "standardised_code",
    "standardised_over_images",
    "stratified_log_weights",
    "supervised_contrastive",
    "swapped_prediction",
    "task_nll",
    "token_distance",
    "transport_pairs",
    "variance_invariance_covariance",
    "velocity_error",
    "warmed_temperature",
]
