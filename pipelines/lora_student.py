"""`lora_student`: half depth from the odd layers with LoRA adapters, distilled."""

import sys

from evenodd.console import main

if __name__ == "__main__":
    main(["lora_student", *sys.argv[1:]])
