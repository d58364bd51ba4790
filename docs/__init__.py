"""The sources of genlab's site; `builder` has the pages that are made from the code."""
