"""Parts of `verify`: whether a finished run is what it says it is.

`files` hashes files and states, `books` says which links there must be, `values` compares
metrics.json with other files, `measuring` derives splits, labels and test metrics again, `origin`
compares seed and code, `retraining` trains steps again, `chain` compares the states they come to,
`tables` their metrics, `report` has the findings.
"""
