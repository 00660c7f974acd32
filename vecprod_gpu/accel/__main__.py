"""``python -m vecprod_gpu.accel``: run a program with NumPy's and scikit-learn's functions accelerated."""

import sys

from vecprod_gpu.accel._command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
