"""Loggers: `csv_log` (metrics.csv), `wandb_run` (W&B), and their `settings` in a recipe.

`configuration` gives settings short names, `lineage` names the networks of a run, `shown` hands
images and tables to all loggers, `ending` the final metrics, `after` those that are measured later.
`other_loggers` are TensorBoard's, MLflow's and others', called under `guarding`.
"""
