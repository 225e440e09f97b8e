"""`hybrid`: half depth from the odd layers, distilled: LoRA on the sensitive ones, the others in full."""

import sys

from evenodd.console import main

if __name__ == "__main__":
    main(["hybrid", *sys.argv[1:]])
