"""``python -m genlab`` is the command ``genlab``, with the working directory off the path."""

import os
import sys

if not sys.flags.safe_path and sys.path[:1] in ([""], [os.getcwd()]):
    del sys.path[0]  # a file there must not stand before an installed package of its name

from genlab.cli import main

if __name__ == "__main__":
    main()
