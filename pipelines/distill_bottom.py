"""`distill_bottom`: half depth from the first layers, distilled."""

import sys

from evenodd.console import main

if __name__ == "__main__":
    main(["distill_bottom", *sys.argv[1:]])
