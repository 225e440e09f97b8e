"""`score`: labels, decisions and scores for a large file or a folder of texts, as CSV."""

import sys

from evenodd.console import main

if __name__ == "__main__":
    main(["score", *sys.argv[1:]])
