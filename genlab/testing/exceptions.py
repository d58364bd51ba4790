"""Laws that do not apply to a method of genlab, with the reason; two at most for each.

Your own method declares them in a class attribute ``law_exceptions``, law -> reason.
"""

EXCEPTIONS: dict[str, dict[str, str]] = {
    "SimCLR": {"repeat": "in-batch negatives: a repeated image is its own negative"},
    "MoCoV3": {"repeat": "in-batch negatives: a repeated image is its own negative"},
    "LinearProbe": {"places": "precomputed features are found by an image's place in the data set"},
    "KNN": {"gradients": "nothing is trained"},
    "WGANGP": {"gradients": "the critic's last bias cancels in a difference of its scores"},
    "VQPrior": {
        "checkpoint": "the cache of codes is no state: entries are encoded anew where they lack",
        "reads": "the cache of codes asks whether an image has changed; off: cache_codes: false",
    },
    "VQVAE": {
        "order": "codes start, and start again, from vectors at places in the batch",
        "repeat": "codes start, and start again, from vectors at places in the batch",
    },
}
MOST = 2
