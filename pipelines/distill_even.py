"""`distill_even`: half depth from the even layers, distilled."""

import sys

from evenodd.console import main

if __name__ == "__main__":
    main(["distill_even", *sys.argv[1:]])
