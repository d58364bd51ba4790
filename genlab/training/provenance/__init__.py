"""Origins of a run: its fingerprint, its code in git, its data, its parents.

`same_run` tells runs apart. `code` describes the code with the answers of `git`, and `data` the
images. `training.record` writes all of it into run.json and, as far as it follows the weights, into
checkpoints.
"""
