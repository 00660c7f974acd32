"""``python -m vecprod_gpu``: the command ``vecprod`` for whoever has no scripts folder on the path."""

import sys

from vecprod_gpu.cli import main

sys.exit(main())
