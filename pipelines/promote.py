"""`promote`: checks the gates and moves the champion alias."""

import sys

from evenodd.console import main

if __name__ == "__main__":
    main(["promote", *sys.argv[1:]])
