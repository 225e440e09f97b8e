"""`distill_importance`: half depth from the layers that matter most, distilled."""

import sys

from evenodd.console import main

if __name__ == "__main__":
    main(["distill_importance", *sys.argv[1:]])
