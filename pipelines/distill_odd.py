"""`distill_odd`: half depth from the odd layers, distilled."""

import sys

from evenodd.console import main

if __name__ == "__main__":
    main(["distill_odd", *sys.argv[1:]])
