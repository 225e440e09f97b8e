"""`study`: every named variant over every seed, tuned first when asked, and compared; resumes when repeated."""

import sys

from evenodd.console import main

if __name__ == "__main__":
    main(["study", *sys.argv[1:]])
