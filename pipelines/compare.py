"""`compare`: lines the finished runs up, tests the differences, names a winner or a tie."""

import sys

from evenodd.console import main

if __name__ == "__main__":
    main(["compare", *sys.argv[1:]])
