"""`distill_top`: half depth from the last layers, distilled."""

import sys

from evenodd.console import main

if __name__ == "__main__":
    main(["distill_top", *sys.argv[1:]])
