"""The row of the first call of a process, which imports and, where nothing is cached, compiles."""

from functools import partial

from ..peers import Peers
from ..processes import first_call
from ..row import Entry
from ..runner import Runner

OURS = "import numpy, vecprod_gpu; vecprod_gpu.cross(*numpy.ones((2, 8, 3), 'f'))"
NUMPYS = "import numpy; numpy.cross(*numpy.ones((2, 8, 3), 'f'))"
TORCHS = "import torch; torch.linalg.cross(*torch.ones((2, 8, 3)))"


def cold_start(peers: Peers) -> Entry:
    """The cross products of 8 vectors, imports included."""
    runners = [
        Runner("ours", partial(first_call, OURS), None),
        Runner("ours, nothing compiled yet", partial(first_call, OURS, "NUMBA_CACHE_DIR"), None),
        Runner("numpy", partial(first_call, NUMPYS), None),
        *peers.torch(lambda torch: iter([Runner("torch", partial(first_call, TORCHS), None)])),
    ]
    return Entry(runners, None)
