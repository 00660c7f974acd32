"""Each kernel with one planted fault: the comparison with the oracle must fail, or it proves nothing."""

import numpy as np
import pytest

from tests.kernels import checks
from tests.shim import fake_cupy
from tests.shim.build import ShimError

FAULTS = {
    "batched_outer: a carry is lost": ("at.problem += m.carry(at.row);", "m.carry(at.row);"),
    "batched_outer: a quotient that is one too small": ("return estimate + is_below;", "return estimate;"),
    "batched_outer: the next of two rows": ("here < CHUNK ? outer.next_row(at) : at;", "at;"),
    "batched_outer: the next of many rows": ("at = outer.next_row(at);", "at.column = 0;"),
    "batched_outer: a nested batch": (" + inner * operand.inner_stride;", ";"),
    "batched_outer: the last chunk of a tile": (
        "if (chunk <= last) writer.write_chunk(",
        "if (chunk < last) writer.write_chunk(",
    ),
    "batched_outer: the last of long rows": (
        "if (k <= last) writer.write_chunk(",
        "if (k < last) writer.write_chunk(",
    ),
    "batched_outer: elements outside the chunks": (
        "const index_t element = chunks.leftover(k);",
        "const index_t element = k;",
    ),
    "batched_outer: beta is forgotten": (
        "add(product, scaled(beta, previous))",
        "add(product, to_sum(previous))",
    ),
    "cross_contiguous: b read as a": ("load_vector(b + 3 * i, 1)", "load_vector(a + 3 * i, 1)"),
    "cross_strided: a's stride for b": (
        "inner * b_inner_stride, b_component_stride",
        "inner * b_inner_stride, a_component_stride",
    ),
    "vecdot: the end of a lane": ("k < length; k += lanes", "k + lanes < length; k += lanes"),
    "vecdot: lanes that are not added": ("fold_lanes(sums, width, slots);", "__syncthreads();"),
    "vecdot: a vector behind the last": ("if (lane == 0 && i < count)", "if (lane == 0 && i + 1 < count)"),
    "geometry: the rounding errors of products": (
        "add(subtract(left, right), subtract(left_error, right_error))",
        "subtract(left, right)",
    ),
    "geometry: the scale": (
        "(vector, power_of_two<Real>(-excess)), exponent + excess}",
        "(vector, Real(1)), exponent}",
    ),
    "geometry: the direction of zero": ("if (length == 0) return {};", ""),
    "geometry: the differences of the largest numbers": ("BIAS ? 0 : 1;", "BIAS ? 0 : 0;"),
    "measures: c of a group": ("load_group(c.start + start)", "load_group(b.start + start)"),
    "measures: after the groups": ("groups * CHUNK + thread", "groups * CHUNK + 1 + thread"),
    "measures: half the triangle": ("normal.exponent -= 1;", ""),
    "vector_angle: small angles": ("power_of_two<Real>(-28)", "Real(0.5)"),
    "triple_product: the sign": (
        "multiply(b.z, c.x), multiply(b.x, c.z)",
        "multiply(b.x, c.z), multiply(b.z, c.x)",
    ),
    "face_normals: a bad face": (
        "if (!mesh.has_face(face))\n            atomicMin(first_bad, face);",
        "if (!mesh.has_face(face))\n            ;",
    ),
    "face_normals: not of length 1": ("is_unit ? direction(normal.vector) :", ""),
    "vertex_normals: a bad face": ("if (!mesh.has_face(face)) atomicMin(first_bad, face);", ";"),
    "vertex_normals: the first corner": (
        "mesh.vertex(order[middle]) < vertex",
        "mesh.vertex(order[middle]) <= vertex",
    ),
    "vertex_normals: the corners that follow": ("if (mesh.vertex(corner) != vertex) break;", ""),
    "grid_normals: the edges": ("after - before == 2 ? add(step, step) : step", "add(step, step)"),
    "grid_normals: the step of a row": ("dx[row]", "dx[0]"),
    "linreg_partials: the offset": ("to_sum(x) - offset(column)", "to_sum(x)"),
    "linreg_partials: a missing barrier": (
        "weighted[i] = layout.weights[row] * residuals[i];\n    }\n    __syncthreads();",
        "weighted[i] = layout.weights[row] * residuals[i];\n    }",
    ),
    "linreg_partials: the last row": (
        "layout.rows_per_tile, end - row)",
        "layout.rows_per_tile, end - row - 1)",
    ),
    "linreg_partials: weights once a model group": ("first_model == 0;", "true;"),
    "linreg_lane_partials: the offset": ("subtract(number, columns.offset[c][v])", "number"),
    "linreg_lane_partials: the last row": ("row < rows ? problem.weight", "row + 1 < rows ? problem.weight"),
    "linreg_lane_partials: the order of models": (
        "const int model = m ^ place.first_model();\n                if",
        "const int model = m;\n                if",
    ),
    "linreg_lane_partials: who owns a value": ("slot / OWNED * REPLICAS", "slot / OWNED"),
    "linreg_lane_partials: no barrier behind a copy": (
        "            __syncwarp();\n        else\n            __syncthreads();\n",
        "            __syncwarp();\n",
    ),
    "linreg_lane_partials: no barrier between warps": (
        "= values[i];\n        __syncthreads();",
        "= values[i];",
    ),
    "linreg_lane_steps: rows of one block for another's": (
        "block += team.crew, stage += tiles)",
        "block += team.crew)",
    ),
    "linreg_lane_steps: the last of three tiles": (
        "rows - row > (TILES_AT_ONCE - 1) * TILE_ROWS",
        "rows - row > TILES_AT_ONCE * TILE_ROWS - TILE_ROWS * 2",
    ),
    "linreg_lane_steps: no barrier behind a step": (
        "            receive_point(team, step);\n        }\n        __syncthreads();",
        "            receive_point(team, step);\n        }",
    ),
    "linreg_lane_steps: weights that nobody sends": (
        "if (step == 1 && threadIdx.x == 0) send(",
        "if (step == 0) send(",
    ),
    "linreg_lane_steps: the start of every step": (
        "take_point(place, point_after(step - 1)",
        "take_point(place, point_after(0)",
    ),
    "linreg_lane_steps: the coefficients of others": (
        "output = team.member + number * team.crew;",
        "output = number * team.crew;",
    ),
    "linreg_lane_steps: the groups of models": ("mail + blockIdx.x * messages", "mail"),
    "linreg_step_losses: where a step starts": (
        "points + (start - problems) * entries",
        "points + start * entries",
    ),
    "linreg_step_losses: the weights of a problem": ("weights + problem * blocks_per_problem", "weights"),
    "messages: of another step": ("unsigned(low) == step && unsigned(high) == step", "low && high"),
    "linreg_finish: l2 in the loss": ("l2 / 2 * coefficient * coefficient", "l2 * coefficient * coefficient"),
    "linreg_finish: the threshold": ("learning_rate * l1)", "l1)"),
}


def every_vector(cupy, rng):
    """What calls the header that measures and normals share."""
    checks.every_measure(cupy, rng)
    checks.every_normal(cupy, rng)


CALLS = {
    "geometry": every_vector,
    **dict.fromkeys(("batched_outer", "cross_contiguous", "cross_strided", "vecdot"), checks.every_product),
    **dict.fromkeys(("measures", "triple_product", "vector_angle"), checks.every_measure),
    **dict.fromkeys(("face_normals", "grid_normals", "vertex_normals"), checks.every_normal),
    **dict.fromkeys(("linreg_lane_steps", "linreg_step_losses", "messages"), checks.every_walk),
    **dict.fromkeys(("linreg_finish", "linreg_lane_partials", "linreg_partials"), checks.every_regression),
}
"""What calls the kernel, or the header, that a fault is planted in."""


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_noticed(fault):
    correct, wrong = FAULTS[fault]
    calls = CALLS[fault.split(":")[0]]
    found = []

    def plant(source):
        found.append(source.count(correct))
        return source.replace(correct, wrong)

    with fake_cupy.install(edit=plant) as cupy, pytest.raises((AssertionError, ShimError)):
        calls(cupy, np.random.default_rng(0))
    assert max(found) == 1, "the text to replace must stand in the kernels exactly once"


def test_without_a_fault_nothing_is_noticed():
    with fake_cupy.install() as cupy:
        checks.everything(cupy)
