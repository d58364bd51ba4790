"""Training of a recipe: `building` makes data, method and trainer, `fitting` trains them.

Before that, `sources` resolves references to runs, `parsing` checks arguments, `changed_encoder`
drops those of another encoder, `class_names` keeps labels what they meant, `file_head` takes a
file's classifier, `refusals` gives errors their place, `demands` are a method's own. `record`
writes a run's files, `continuing` goes on with a run, `changes` applies or refuses what it changes,
`endings` handles early ends by `error_kinds`, `verify` checks a finished run by its `proof`,
`keeping` keeps links of all within one limit, `length` says which limit ends a training,
`replaying` runs a step again that was not finite, `opened` loads a run for measuring, on
`other_data` too, `evaluations` keeps the metrics, `session` trains from Python in `isolation`,
`stand_ins` are untrained runs. `engine` has the parts of every training (its `safe_requeue` stops
at Slurm's signals), `tracking` writes metrics.csv and W&B, `provenance` tells where a run comes
from, and `profile` times steps.
"""
