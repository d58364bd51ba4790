"""Fuzzers: recipes and command lines made wrong at random, each judged as a user would."""
