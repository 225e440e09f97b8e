"""`export`: ONNX graphs with a parity gate, and the bundle that is served."""

import sys

from evenodd.console import main

if __name__ == "__main__":
    main(["export", *sys.argv[1:]])
