"""Ours beside every peer that is installed and beside the machine's own limit, in one run.

``race`` times the runners of one row in rotating order; ``rows`` says what is raced; ``python -m
vecprod_gpu.bench`` runs the rows and prints a table.
"""

from .race import Race, Runner, run

__all__ = ["Race", "Runner", "run"]
