"""The log of what fell back and what did not, on standard error."""

import logging
import os

from ..errors import ArgumentError
from ._watch import logger, watch

VARIABLE = "VECPROD_ACCEL_LOG_LEVEL"
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def set_level(level: str | None) -> None:
    """Log from a level on; that of the environment unless one is given."""
    source = "log_level" if level is not None else VARIABLE
    name = level if level is not None else os.environ.get(VARIABLE) or "warning"
    if name.lower() not in LEVELS:
        raise ArgumentError(f"{source} is {name!r}; it can be {', '.join(LEVELS)}")
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("[vecprod_gpu.accel] %(message)s"))
        logger.addHandler(handler)
        logger.propagate = False
    logger.setLevel(LEVELS[name.lower()])
    watch.refresh()
