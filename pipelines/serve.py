"""`serve`: the service and its page, of the champion or of `model`, on http://localhost:3000."""

import sys

from evenodd.console import main

if __name__ == "__main__":
    main(["serve", *sys.argv[1:]])
