"""The rows of the first call of a process, which imports and, where nothing is cached, compiles."""

from functools import partial

from ..peers import Peers
from ..processes import first_call
from ..row import Entry
from ..runner import Runner

NUMBAS_IMPORT = "numba's import"

CROSS = "import numpy, vecprod_gpu; vecprod_gpu.cross(*numpy.ones((2, {count}, 3), 'f'))"
NUMPYS_CROSS = "import numpy; numpy.cross(*numpy.ones((2, {count}, 3), 'f'))"
TORCHS_CROSS = "import torch; torch.linalg.cross(*torch.ones((2, {count}, 3)))"

DATA = "X, y, w = np.ones(({n}, {d}), 'f'), np.ones({n}, 'f'), np.ones({d}, 'f')"
GRADIENT = f"import numpy as np, vecprod_gpu; {DATA}; vecprod_gpu.linreg_gradient(X, y, w)"
NUMPYS_GRADIENT = f"import numpy as np; {DATA}; X.T @ (X @ w - y) / {{n}}"


def first_cross(peers: Peers, count: int) -> Entry:
    """Cross products, imports included."""
    ours, numpys, torchs = (each.format(count=count) for each in (CROSS, NUMPYS_CROSS, TORCHS_CROSS))
    runners = [
        Runner("ours", partial(first_call, ours), None),
        Runner("ours, nothing compiled yet", partial(first_call, ours, "NUMBA_CACHE_DIR"), None),
        _numbas_import(),
        Runner("numpy", partial(first_call, numpys), None),
        *peers.torch(lambda torch: iter([Runner("torch", partial(first_call, torchs), None)])),
    ]
    return Entry(runners, None)


def first_gradient(peers: Peers, n: int, d: int) -> Entry:
    """One gradient, imports included."""
    ours, numpys = (each.format(n=n, d=d) for each in (GRADIENT, NUMPYS_GRADIENT))
    runners = [
        Runner("ours", partial(first_call, ours), None),
        _numbas_import(),
        Runner("numpy", partial(first_call, numpys), None),
    ]
    return Entry(runners, None)


def _numbas_import() -> Runner:
    return Runner(NUMBAS_IMPORT, partial(first_call, "import numba"), None)
