"""Experiments on runs.

`measurement` of one; `axes` of a sweep, `trials` in a `pool` of processes, `comparison` of runs
with means over seeds, and `curves`; `studies` of many methods, `arms` of one question.
"""
