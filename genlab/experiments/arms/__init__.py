"""Studies that answer one question by a few arms: named sets of settings, trained with equal seeds.

`question` is a study and `question_files` finds and reads its file, `expansion` makes runs of its
arms, `equality` checks what they have alike. `results` keeps the metrics of a run by its
fingerprint and seed, `work` trains and measures what is missing by `reading`. `intervals` has the
statistics, `verdicts` decides by them, `controls` tries that decision on shuffled, planted and
equal arms, `summary` writes a study down.
"""
