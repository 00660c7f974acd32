"""Where a warning belongs: at the line outside this package that called it."""

import sys
from pathlib import Path

_PACKAGE = str(Path(__file__).parent)


def frames_to_caller() -> int:
    """How far up the stack, counted from whoever calls this, the first line outside this package is."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    return level
