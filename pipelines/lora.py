"""`lora`: the full-depth encoder with LoRA adapters."""

import sys

from evenodd.console import main

if __name__ == "__main__":
    main(["lora", *sys.argv[1:]])
