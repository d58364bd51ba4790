"""Reports: runs, sweeps and studies, each as one HTML page that needs no network.

`run_page`, `sweep_page` and `study_page`, which is a `question_page` or a `table_page`, say what is
on a page, in the `blocks` of which `document` makes HTML with the template, style and script in
``assets``. `charts` are data that the script draws with Apache ECharts, `thinning` leaves out
points that no screen shows, `images` makes WebP of a run's images.
"""
