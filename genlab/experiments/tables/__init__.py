"""Published tables: recipes trained, measured and written next to the results of the papers.

`table` reads a table's file, `cells` are its trainings and their results, `identity` tells runs of
other settings or code apart, `measuring` reads the columns, and `page` writes them down.
"""
