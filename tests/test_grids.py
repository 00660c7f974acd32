"""Normals of height fields: one body for every backend, and `numpy.gradient` to hold them to."""

import numpy as np
import pytest

import vecprod_gpu as vp
from tests.test_meshes import terrain, unit
from tests.test_products import draw, layouts, poisoned

FLOATS = ["float32", "float64"]


def grid_by_gradient(z, dx, dy):
    slope_x = np.gradient(z, axis=-1) / np.reshape(dx, (-1, 1))
    slope_y = np.gradient(z, axis=-2) / dy
    return unit(np.stack([-slope_x, -slope_y, np.ones(z.shape)], axis=-1))


class TestDerivatives:
    @pytest.mark.parametrize("dtype", FLOATS)
    def test_a_saddle(self, backend, dtype):
        x, y = np.linspace(-1, 1, 9, dtype=dtype), np.linspace(-2, 2, 17, dtype=dtype)[:, np.newaxis]
        exact = np.stack(np.broadcast_arrays(-y, -x, 1), axis=-1) / np.sqrt(1 + x**2 + y**2)[..., np.newaxis]
        # z = xy is linear along both axes: differences are derivatives, at the edges too.
        ours = vp.grid_normals(x * y, dx=0.25, dy=0.25)
        np.testing.assert_allclose(ours, exact, rtol=0, atol=4 * np.finfo(dtype).eps)

    @pytest.mark.parametrize("dtype", FLOATS)
    def test_a_real_landscape(self, host_backend, dtype):
        z, dx, dy = terrain()
        assert dy < 0
        ours = vp.grid_normals(z.astype(dtype), dx, dy)
        # Slopes of at most some units, from two roundings of heights and steps each.
        np.testing.assert_allclose(ours, grid_by_gradient(z, dx, dy), rtol=0, atol=8 * np.finfo(dtype).eps)

    @pytest.mark.may_fall_back  # cpu computes no float16
    @pytest.mark.parametrize("dtype", ["float16", *FLOATS])
    @pytest.mark.parametrize("shape", [(2, 2), (2, 9), (7, 2), (5, 6), (2, 3, 4, 5)])
    @pytest.mark.parametrize("steps", [(1.0, 1.0), (0.5, -2.0), ("by row", 0.25), (-4, 3)])
    def test_equals_the_gradient(self, backend, rng, dtype, shape, steps):
        dx, dy = steps
        if dx == "by row":
            dx = np.ldexp(1.0, rng.integers(-3, 4, shape[-2])) * rng.choice([1, -1], shape[-2])
        z = draw(rng, shape, dtype)
        ours = vp.grid_normals(z, dx, dy)
        assert ours.dtype == dtype
        expected = grid_by_gradient(z.astype(float), dx, dy)
        np.testing.assert_allclose(ours, expected, rtol=0, atol=4 * np.finfo(dtype).eps)

    def test_steps_of_one_are_the_default(self, backend, rng):
        z = draw(rng, (4, 5), "float32")
        assert vp.grid_normals(z).tobytes() == vp.grid_normals(z, 1, np.ones(())).tobytes()
        assert vp.grid_normals(z, 0.3).tobytes() == vp.grid_normals(z, [0.3] * 4, dy=1.0).tobytes()

    def test_flat_ones_point_up(self, backend):
        ours = vp.grid_normals(np.full((3, 4), 7), dx=-0.1, dy=1e-3)
        np.testing.assert_array_equal(ours, np.broadcast_to([0.0, 0.0, 1.0], (3, 4, 3)))

    @pytest.mark.parametrize("dtype", FLOATS)
    @pytest.mark.parametrize("sign", [1, -1])
    def test_walls_and_plains(self, backend, dtype, sign):
        far = {"float32": 100, "float64": 660}[dtype]
        z = np.ldexp(np.array([[0, 1], [0, 1]], dtype), sign * far)
        for dx in (1.0, 2.0 ** (-sign * 20)):
            slope = 2.0 ** (sign * far) / dx
            expected = (-1, 0, 1 / slope) if sign > 0 else (-slope, 0, 1)
            ours = vp.grid_normals(z, dx)
            np.testing.assert_allclose(
                ours, np.broadcast_to(expected, (2, 2, 3)), rtol=2 * np.finfo(dtype).eps
            )

    def test_nan_stays_near(self, backend, rng):
        z = rng.standard_normal((5, 6))
        z[2, 3] = np.nan
        np.testing.assert_array_equal(
            np.isnan(vp.grid_normals(z)).any(axis=-1), np.isnan(grid_by_gradient(z, 1.0, 1.0)).any(axis=-1)
        )

    @pytest.mark.parametrize("layout", ["read-only", "fortran", "strided", "misaligned", "reversed"])
    def test_layouts_give_the_same_bits(self, backend, rng, layout):
        z = draw(rng, (4, 5), "float32")
        odd = layouts(z)[layout]
        assert vp.grid_normals(odd, 0.3).tobytes() == vp.grid_normals(z, 0.3).tobytes()

    def test_a_repeated_row_is_not_copied_by_the_caller(self, backend, rng):
        z = np.broadcast_to(draw(rng, 5, "float64"), (2, 4, 5))
        assert vp.grid_normals(z).tobytes() == vp.grid_normals(z.copy()).tobytes()

    @pytest.mark.may_fall_back  # for long doubles
    @pytest.mark.parametrize(("given", "result"), [("b", "d"), ("Q", "d"), (">f4", "f"), ("g", "g")])
    def test_dtypes(self, backend, given, result):
        ours = vp.grid_normals(np.arange(12).reshape(3, 4).astype(given), 2)
        assert ours.dtype == result
        assert ours.dtype.isnative
        np.testing.assert_allclose(ours, grid_by_gradient(np.arange(12.0).reshape(3, 4), 2, 1), rtol=1e-6)

    @pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 2, 2)])
    def test_of_no_grid(self, backend, shape):
        assert vp.grid_normals(np.ones(shape)).shape == (*shape, 3)

    def test_out(self, backend, rng):
        z = draw(rng, (4, 5), "float32")
        expected = vp.grid_normals(z)
        for out in (
            poisoned((4, 5, 3), np.float32),
            poisoned((5, 4, 3), np.float32).transpose(1, 0, 2),
            poisoned((4, 5, 6), np.float32)[:, ::-1, ::2],
            poisoned((4, 5, 3), np.float64),
        ):
            assert vp.grid_normals(z, out=out) is out
            np.testing.assert_array_equal(out, expected)

    def test_out_may_overlap_the_heights(self, backend, rng):
        memory = draw(rng, (4, 5, 3), "float64")
        expected = vp.grid_normals(memory[..., 1].copy())
        vp.grid_normals(memory[..., 1], out=memory)
        np.testing.assert_array_equal(memory, expected)

    @pytest.mark.parametrize(
        ("how", "error", "words"),
        [
            ({"z": np.ones(4)}, "ShapeError", "z has shape (4,); needed is (..., H, W)"),
            ({"z": np.ones((1, 4))}, "ShapeError", "z has shape (1, 4)"),
            ({"z": np.ones((3, 1))}, "ShapeError", "at least 2 rows and 2 columns"),
            ({"z": np.ones((2, 2), bool)}, "DTypeError", "z has dtype bool; needed are real numbers"),
            ({"z": np.ones((2, 2), complex)}, "DTypeError", "z has dtype complex128"),
            ({"z": np.ones((2, 2), object)}, "DTypeError", "z has dtype object"),
            (
                {"dx": [1.0, 2.0]},
                "ShapeError",
                "dx has shape (2,); needed is a number, or (3,), one for each",
            ),
            ({"dx": np.ones((3, 1))}, "ShapeError", "dx has shape (3, 1)"),
            ({"dx": 0}, "ArgumentError", "dx must not be 0"),
            ({"dx": np.nan}, "ArgumentError", "dx must be finite"),
            (
                {"dx": [1, 0, 2]},
                "ArgumentError",
                "dx must be finite and not 0 in float64; it is 0 in row 1",
            ),
            (
                {"dx": [1, 2, np.inf]},
                "ArgumentError",
                "dx must be finite and not 0 in float64; it is inf in row 2",
            ),
            *(
                ({"z": np.ones((3, 4), "f"), "dx": dx}, "ArgumentError", "in float32; it is 1e-50 in row 0")
                for dx in (1e-50, [1e-50, 1, 1])
            ),
            (
                {"z": np.ones((3, 4), "f"), "dx": 1e40},
                "ArgumentError",
                "dx must be finite and not 0 in float32",
            ),
            ({"dx": 1j}, "DTypeError", "dx must be a real number"),
            ({"dx": [1j, 1, 1]}, "DTypeError", "dx has dtype complex128"),
            ({"dy": 0.0}, "ArgumentError", "dy must not be 0"),
            ({"dy": np.inf}, "ArgumentError", "dy must be finite"),
            ({"dy": np.ones(3)}, "ShapeError", "dy must be one number; it has shape (3,)"),
            ({"dy": "1"}, "DTypeError", "dy must be a real number, not str"),
            ({"out": np.empty((3, 4))}, "ShapeError", "out has shape (3, 4); needed is (3, 4, 3)"),
            ({"out": np.empty((3, 4, 3), int)}, "DTypeError", "out has dtype int64"),
            ({"out": np.broadcast_to(0.0, (3, 4, 3))}, "ArgumentError", "out is read-only"),
        ],
    )
    def test_errors(self, backend, how, error, words):
        with pytest.raises(getattr(vp.errors, error)) as raised:
            vp.grid_normals(**{"z": np.ones((3, 4)), **how})
        assert words in str(raised.value)
