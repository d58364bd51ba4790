"""Experiments on runs.

`measurement` of one; `axes` of a sweep, `trials` in a `pool` of processes, `comparison` of runs
with means over seeds by `usual` metrics, `curves`, `arrays` for Slurm, an `ensemble` of
classifiers; `reports` are pages of any of them. `studies` of many methods and published `tables`
share `cell_folder` (results and locks), `cell_work` (train and measure what is missing),
`page_results` (results next to a page), `markdown`, `study_files` and `file_fields` (their files);
`arms` of one question.
"""
