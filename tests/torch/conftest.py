"""Tests of the door for PyTorch: collected where torch is installed, so that none is skipped elsewhere."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("torch") else ["*.py"]
