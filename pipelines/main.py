"""`main`: everything: teacher, every named variant, compare, export, promote, package."""

import sys

from evenodd.console import main

if __name__ == "__main__":
    main(["main", *sys.argv[1:]])
