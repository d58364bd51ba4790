"""``python -m genlab`` is the command ``genlab``."""

from genlab.cli import main

if __name__ == "__main__":
    main()
