"""Studies: tables of many methods under one budget, with settings searched alike for each.

`table` reads a study's file, `rows` finds its methods, `cells` are its trainings and their results,
`measuring` computes the `columns`, `timing` turns seconds into steps, `margins` compares with what
needs no training, `paired` with another library, `effort` says the budget and the work that is
left, and `page` writes the result down.
"""
