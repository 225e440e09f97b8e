"""`python -m pipelines ENTRY --name value …`: the same as the console command `evenodd`."""

from evenodd.console import main

if __name__ == "__main__":
    main()
