"""What compiled loops tell of floating-point errors, beside what NumPy's ufuncs tell of the same."""

import warnings

import numpy as np
import pytest

from vecprod_gpu.backends._cpu import float_status

QUOTIENTS = {
    "divide": (1.0, 0.0),
    "over": (1e200, 1e-200),
    "under": (1e-200, 1e200),
    "invalid": (0.0, 0.0),
}
SETS = [("invalid",), ("invalid", "over"), ("under", "divide"), tuple(QUOTIENTS), ()]


def of_numpy(kinds):
    np.divide(*zip((1.0, 1.0), *map(QUOTIENTS.get, kinds), strict=True))


def of_ours(kinds):
    float_status.report(sum(float_status._KINDS[kind][0] for kind in kinds), "divide")


class Log(list):
    """What np.seterrcall may be given, for either kind of action."""

    def __call__(self, *told):
        self.append(told)

    def write(self, message):
        self.append(message)


@pytest.mark.parametrize("kinds", SETS)
class TestErrorsAreToldOfAsNumPyDoes:
    @pytest.mark.parametrize("action", ["call", "log"])
    def test_to_a_receiver(self, kinds, action):
        ours, theirs = Log(), Log()
        for tell, log in ((of_ours, ours), (of_numpy, theirs)):
            with np.errstate(all=action, call=log):
                tell(kinds)
        assert ours == theirs
        assert len(ours) == len(kinds)

    @pytest.mark.parametrize("action", ["call", "log"])
    def test_without_a_receiver(self, kinds, action):
        for tell in (of_ours, of_numpy) if kinds else ():
            with np.errstate(all=action, call=None), pytest.raises(NameError):
                tell(kinds)

    def test_by_an_exception(self, kinds):
        messages = []
        for tell in (of_ours, of_numpy) if kinds else ():
            with np.errstate(all="raise"), pytest.raises(FloatingPointError) as raised:
                tell(kinds)
            messages.append(str(raised.value))
        assert len(set(messages)) == bool(kinds)

    def test_by_warnings(self, kinds):
        told = []
        for tell in (of_ours, of_numpy):
            with np.errstate(all="warn"), warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                tell(kinds)
            told.append([(each.category, str(each.message)) for each in caught])
        assert told[0] == told[1]
        assert len(told[0]) == len(kinds)

    def test_in_print(self, kinds, capfd):
        printed = []
        for tell in (of_ours, of_numpy):
            with np.errstate(all="print"):
                tell(kinds)
            printed.append(capfd.readouterr())
        assert printed[0] == printed[1]

    def test_or_not_at_all(self, kinds):
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("error")
            of_ours(kinds)
