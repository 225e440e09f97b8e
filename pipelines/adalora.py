"""`adalora`: the full-depth encoder with AdaLoRA adapters."""

import sys

from evenodd.console import main

if __name__ == "__main__":
    main(["adalora", *sys.argv[1:]])
