"""Loggers: metrics.csv and W&B, and what a recipe says about them."""
