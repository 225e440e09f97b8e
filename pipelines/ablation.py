"""`ablation`: what each term of the distillation loss adds: a student with its terms switched off one by one."""

import sys

from evenodd.console import main

if __name__ == "__main__":
    main(["ablation", *sys.argv[1:]])
