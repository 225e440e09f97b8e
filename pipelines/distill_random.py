"""`distill_random`: half depth, layers drawn anew for each seed, distilled."""

import sys

from evenodd.console import main

if __name__ == "__main__":
    main(["distill_random", *sys.argv[1:]])
