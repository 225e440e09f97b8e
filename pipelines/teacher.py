"""`teacher`: the full-depth encoder, fine-tuned."""

import sys

from evenodd.console import main

if __name__ == "__main__":
    main(["teacher", *sys.argv[1:]])
