"""Experiments of many runs.

`axes` of a sweep, a `pool` of processes, `comparison` of runs with means over seeds, and `curves`.
"""
