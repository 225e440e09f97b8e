"""`score`: labels, decisions and scores for files of texts, however large; resumes when repeated."""

import sys

from evenodd.console import main

if __name__ == "__main__":
    main(["score", *sys.argv[1:]])
