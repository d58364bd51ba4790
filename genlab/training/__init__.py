"""Training of a recipe: `building` makes data, method and trainer, `fitting` trains them.

``engine/`` is always there (checkpoints, reseeding, step metrics, requeue); ``tracking/`` writes
metrics.csv and W&B; ``profile/`` times steps; ``opened`` loads a run for measuring.
"""
