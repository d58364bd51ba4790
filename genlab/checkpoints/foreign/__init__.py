"""Weights of others into a backbone: fetch, recognise, match, adapt, refuse, report."""
