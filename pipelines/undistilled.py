"""`undistilled`: half depth from the odd layers, fine-tuned without a teacher."""

import sys

from evenodd.console import main

if __name__ == "__main__":
    main(["undistilled", *sys.argv[1:]])
