"""`evaluate`: scores a registered model, run or bundle on a data file or a behaviour suite."""

import sys

from evenodd.console import main

if __name__ == "__main__":
    main(["evaluate", *sys.argv[1:]])
