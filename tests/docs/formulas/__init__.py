"""Formulas of docs/objectives in float64, each next to the loss of its method."""
