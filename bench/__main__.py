"""``python -m vecprod_gpu.bench`` is ``vecprod bench``."""

import sys

from vecprod_gpu.cli import main

if __name__ == "__main__":
    sys.exit(main(["bench", *sys.argv[1:]]))
