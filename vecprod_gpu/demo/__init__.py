"""What ``vecprod demo`` runs: three everyday computations on real data, each held against NumPy.

The data ship inside matplotlib and scikit-learn, so nothing is downloaded.
"""

from vecprod_gpu.demo._run import run

__all__ = ["run"]
