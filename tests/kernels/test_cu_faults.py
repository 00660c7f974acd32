"""Each kernel with one planted fault: the comparison with the oracle must fail, or it proves nothing."""

import pytest

from tests.kernels import checks
from tests.shim import fake_cupy
from tests.shim.build import ShimError

FAULTS = {
    "batched_outer: a carry is lost": ("digit[0] += step.digit[0] + carry;", "digit[0] += step.digit[0];"),
    "batched_outer: elements outside the chunks": (
        "const index_t element = chunks.leftover(k);",
        "const index_t element = k;",
    ),
    "batched_outer: beta is forgotten": (
        "add(product, scaled(beta, previous))",
        "add(product, to_sum(previous))",
    ),
    "cross_contiguous: b read as a": ("load_group(b + start)", "load_group(a + start)"),
    "cross_contiguous: the tail": ("k < before ? k : k + groups * CHUNK", "k"),
    "cross_strided: a's stride for b": (
        "inner * b_inner_stride, b_component_stride",
        "inner * b_inner_stride, a_component_stride",
    ),
    "linreg_partials: the offset": ("to_sum(x) - x_offset[number * d + column]", "to_sum(x)"),
    "linreg_partials: a missing barrier": (
        "weighted[i] = layout.weights[row] * residuals[i];\n    }\n    __syncthreads();",
        "weighted[i] = layout.weights[row] * residuals[i];\n    }",
    ),
    "linreg_partials: rows past the end": (
        "int(smaller(layout.rows_per_tile, end - row))",
        "layout.rows_per_tile",
    ),
    "linreg_partials: weights once a model group": ("first_model == 0;", "true;"),
    "linreg_finish: l2 in the loss": ("l2 / 2 * coefficient * coefficient", "l2 * coefficient * coefficient"),
    "linreg_finish: the threshold": ("learning_rate * l1)", "l1)"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_noticed(fault):
    correct, wrong = FAULTS[fault]
    found = []

    def plant(source):
        found.append(source.count(correct))
        return source.replace(correct, wrong)

    with fake_cupy.install(edit=plant) as cupy, pytest.raises((AssertionError, ShimError)):
        checks.everything(cupy)
    assert max(found) == 1, "the text to replace must stand in the kernels exactly once"


def test_without_a_fault_nothing_is_noticed():
    with fake_cupy.install() as cupy:
        checks.everything(cupy)
