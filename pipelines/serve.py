"""`serve`: the service and its page from the newest bundle, on http://localhost:3000."""

import sys

from evenodd.console import main

if __name__ == "__main__":
    main(["serve", *sys.argv[1:]])
