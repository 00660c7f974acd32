"""When compiled code is loaded: once the work seen so far would have paid for it.

Importing Numba takes half a second, which a script with a handful of small products never gets back. So NumPy
keeps the calls until it has spent about as long on them. Only operations that are bit-equal either way may
wait: the rest is decided by shape and dtype alone.
"""

import sys

from .. import _dispatch
from ._sizes import least

COST = least(0.4)  # seconds
NOT_YET = "too little work so far to pay for loading ours"


class Loading:
    """Whether our backend for the host is there.

    Attributes
    ----------
    is_done : bool
        Whether it is loaded.
    """

    def __init__(self) -> None:
        self.is_done = False
        self._obstacle = ""
        self._spent = 0.0

    def waits(self, seconds: float) -> bool:
        """Whether NumPy keeps a call that takes it so many seconds, so that ours need not be loaded yet."""
        if self.is_done or self._obstacle:
            return not self.is_done
        self._spent += seconds
        return self._spent < COST and "numba" not in sys.modules

    def obstacle(self, seconds: float = COST) -> str:
        """Why ours cannot run yet, or at all; "" where it can.

        Parameters
        ----------
        seconds : float, optional
            That NumPy takes for the call; without, it does not wait.
        """
        if _asks_for_numpy():
            return "VECPROD_BACKEND or use_backend asks for reference"
        if not self.is_done and not self._obstacle:
            if self.waits(seconds):
                return NOT_YET
            self._load()
        return self._obstacle

    def _load(self) -> None:
        if _dispatch.host() is not _dispatch.load("reference"):
            self.is_done = True
        else:
            self._obstacle = f"the backend cpu is not available ({_dispatch.backends()['cpu'].reason})"


def _asks_for_numpy() -> bool:
    """Our reference is NumPy itself: nothing would be gained."""
    mode = _dispatch.mode.get()
    return mode is not None and mode.backend == "reference"


loading = Loading()
