"""Loggers: `csv_log` (metrics.csv), `wandb_run` (W&B), and their `settings` in a recipe."""
