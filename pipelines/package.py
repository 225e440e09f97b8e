"""`package`: builds the Bento from an exported bundle."""

import sys

from evenodd.console import main

if __name__ == "__main__":
    main(["package", *sys.argv[1:]])
