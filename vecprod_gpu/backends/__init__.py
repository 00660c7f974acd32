"""The four backends and the contract that each one keeps.

``reference`` is NumPy, ``cpu`` is Numba on the host, ``cupy`` launches the ``.cu`` kernels and
``numba-cuda`` their Numba twins.  Each backend is a module with the same names, so that the layers
above never ask which one they hold.

**What it is**

``status() -> Status``
    Whether it can run here; if not, why, and the command that mends it.  Never starts a driver.
``supports(operation, dtype) -> bool``
    Whether `operation` (``"batched_outer"``, ``"cross"``, ``"linreg"``) takes the stored dtype.

**Arrays**, in the backend's own kind, called *native* below

``native(array)``
    The array as a native one: itself or a view where it lives there, else a copy to the device.
``empty(shape, dtype)``, ``cast(native, dtype)``, ``moveaxis(native, source, destination)``,
``reshape(native, shape)``
    As in NumPy; cast and reshape copy only where they must.
``contiguous(native)``
    The array in C order: itself where it is so already.
``overlaps(native, other) -> bool``
    Whether the two may share memory, judged by their bounds.
``address(native) -> int``
    Where its first element lies.
``assign(destination, native)``
    ``destination[...] = native``, casting within ``same_kind``; the destination is a native array or
    one of the caller's.
``export(native, kind)``
    The result in the caller's kind (``"numpy"``, ``"cupy"`` or ``"numba"``), without a copy where it
    stays on the device.

**Operations**, all on native arrays, all writing into ``out`` and returning None

``batched_outer(a, b, alpha, beta, out)``
    ``out = (alpha * a) ⊗ b + beta * out``; a ``(..., m)``, b ``(..., n)``, out ``(..., m, n)``, whose
    leading axes are those of a and b broadcast together.  One dtype; alpha and beta are NumPy
    scalars of it (of the summing dtype for float16).  ``beta == 0`` never reads out, which overlaps
    neither input.  Any strides.

``cross(a, b, out)``
    ``out = a × b`` over the last axis, of length 3; leading axes broadcast to those of out.  One
    dtype; out may be a or b itself and overlaps neither of them otherwise.  Any strides.

``linreg_pass(X, y, w, sample_weight, x_offset, *, l1, l2, learning_rate, out, loss)``
    One read of X for ``B`` problems.  With ``r = (X - x_offset) w - y`` and ``W = sum(s)``:
    ``gradient = (X - x_offset)ᵀ (s * r) / W + l2 * w``.  ``out`` receives the gradient when
    ``learning_rate`` is None, else the proximal step
    ``soft_threshold(w - learning_rate * gradient, learning_rate * l1)``.  ``loss``, float64
    ``(B, k)`` or None, receives ``sum(s * r**2) / (2 W) + l1 * |w|_1 + l2 / 2 * |w|²`` at the w
    that came in.

    X is ``(B, n, d)`` of the stored dtype, with any strides.  All else has the summing dtype
    (float32 for stored float16; float32 or float64 for stored float32; float64 for float64) and is
    C-contiguous: y ``(B, n, k)``, or ``(B, n, 1)`` for k models that share one target; w and out
    ``(B, d, k)``, which may be one array; sample_weight ``(B, n)`` or None; x_offset ``(B, d)`` or
    None.  l1, l2 and learning_rate are Python floats.  n, d, k and B are at least 1.

Whoever calls has checked shapes and dtypes, and has allocated ``out``.  A backend copies only what
its kernels cannot read in place, launches on the caller's current stream and does not synchronise.
Its sums follow one tree that depends on the shape alone, so that the same inputs give the same bits.
"""
