"""The four backends and the contract that each one keeps.

``reference`` is NumPy, ``cpu`` is Numba on the host, ``cupy`` launches the ``.cu`` kernels and
``numba-cuda`` their Numba twins.  Each backend is a module with the same names, so that the layers
above never ask which one they hold.

**What it is**

``status() -> Status``
    Whether it can run here; if not, why, and the command that mends it.  Never starts a driver.
``supports(operation, dtype) -> bool``
    Whether `operation` takes the stored dtype: ``"batched_outer"``, ``"cross"``, ``"vecdot"``,
    ``"measure"`` (of real numbers), ``"triple_product"`` (integers too), ``"normals"``, ``"gram"``,
    ``"co_moments"`` or ``"linreg"``.

**Arrays**, in the backend's own kind, called *native* below

``native(array)``
    The array as a native one: itself or a view where it lives there, else a copy to the device.
``empty(shape, dtype)``, ``cast(native, dtype)``, ``moveaxis(native, source, destination)``,
``reshape(native, shape)``, ``broadcast_to(native, shape)``
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

``vecdot(a, b, out)``
    ``out = sum(conj(a) * b)`` over the last axis, of any length; leading axes broadcast to the shape
    of out.  One dtype.  Any strides; out overlaps neither input.

``measure(quantity, vectors, out)``
    A number for each pair or triple of 3-vectors along the last axis; leading axes broadcast to the
    shape of out.  One dtype, any strides; out overlaps no vector.  `quantity` is

    - ``"vector_angle"``: ``atan2(|a × b|, a · b)`` in radians.  Lengths cannot be seen in it: each
      vector is first scaled by a power of two, so that nothing overflows or underflows.  0 where a
      vector is zero, NaN where a component is not finite;
    - ``"parallelogram_area"``: ``|a × b|``;
    - ``"triangle_area"``: ``|(q - p) × (r - p)| / 2`` of three points;
    - ``"triple_product"``: ``a · (b × c)``, every product and sum rounded to the dtype, nothing
      contracted (float16 is computed in float32 and rounded once); integers wrap.

    The first three compute each component of a cross product with the rounding errors of its
    products or in a wider type, so that nearly parallel vectors lose nothing, and norms without overflow.

``face_normals(vertices, faces, unit, out) -> int``
    ``out[..., f, :] = (q - p) × (r - p)`` of the corners p, q, r of face f, scaled to length 1 where
    `unit`; zeros where it is zero.  vertices ``(B, V, 3)`` with any strides, faces ``(F, 3)``,
    C-contiguous int32 or int64, out ``(B, F, 3)``, which overlaps neither.  Returns the first face
    with an index outside of ``[0, V)``, and out is then undefined, or -1.  Waits for the device.
    B, V and F may be 0.

``vertex_normals(vertices, faces, out) -> int``
    For each vertex the sum of the unscaled normals of the faces it belongs to, once for each corner,
    in the order of faces, scaled to length 1; zeros where the sum is zero.  Otherwise as `face_normals`; out
    ``(B, V, 3)``.

``grid_normals(z, dx, dy, out)``
    ``out = (-∂z/∂x, -∂z/∂y, 1)`` scaled to length 1, of heights z ``(B, H, W)`` with any strides.
    Derivatives are central differences, one-sided at the edges.  dx ``(H,)``, contiguous, of the
    summing dtype, is the step along the last axis in each row; dy, a Python float, is that along the
    rows.  out ``(B, H, W, 3)`` does not overlap z.  H and W are at least 2.

``gram(X, Y, weights, out)``
    ``out = sum_i s_i conj(X_i) ⊗ Y_i`` over the rows of ``B`` problems; with ``Y`` None, of X with
    itself, and then exactly Hermitian.  X ``(B, n, p)``, Y ``(B, n, q)`` of the stored dtype, any
    strides; weights ``(B, n)`` or None and out ``(B, p, q)`` of the summing dtype, C-contiguous.
    The summing dtype is float32 for float16, else the stored one.  n, p and q are at least 1.

``co_moments(X, Y, weights, *, scale, correlation, total, means, out)``
    Centred sums of outer products of the columns of ``Z = [X Y]`` in one read of them, with
    ``W = sum(s)`` and ``mean = sum(s * Z) / W``:
    ``out = scale * sum_i s_i (Z_i - mean) ⊗ conj(Z_i - mean)``, exactly Hermitian.  Where
    `correlation`, element (i, j) is then divided by the square roots of elements (i, i) and (j, j), and
    its real and imaginary parts are clipped to [-1, 1].
    ``total`` ``(B,)``, float64, receives W; ``means`` ``(B, d)`` the means; ``out`` is ``(B, d, d)``.
    X ``(B, n, p)`` and Y ``(B, n, q)`` or None (``d = p + q``) have the stored dtype and any strides;
    weights ``(B, n)`` or None, means and out are C-contiguous and of the summing dtype: float32 or
    float64 for stored float16 and float32, complex64 or complex128 for stored complex64, else the
    stored one.  No weight is negative.  scale is a Python float.  n and d are at least 1.  Blocks of
    rows are centred on their own means, and merged by Chan's formula in float64.

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

``linreg_steps(X, y, w, sample_weight, x_offset, *, l1, l2, learning_rate, points, losses)``
    As many steps of `linreg_pass` as losses, float64 ``(T, B, k)``, has entries, one after another, without
    a look at the host between them.  The first starts at w, each other one where the last one led:
    ``losses[t]`` receives the objective at its start, ``points[t]`` where it leads.  points
    ``(T, B, d, k)`` is C-contiguous and of the summing dtype, and does not overlap w.  All else is as for
    `linreg_pass`, and so are the bits.

``linreg_is_kept(X, w, x_offset) -> bool``
    Whether all steps of a call of `linreg_steps` read X once, so that a step is cheap beside the call.  It
    depends on what the device can hold, as the bits do not.

``solves_systems(d, k) -> bool``
    Of ``cupy`` and ``numba-cuda`` alone, as is the next: whether that takes d columns and k targets.

``solve_systems(total, means, matrix, *, is_centred, l2, coef, intercept, loss)``
    The solutions ``(H + l2) w = c`` of P problems, with H, c and yy as `normal_equations` below has them;
    total ``(P,)``, means and matrix are what `co_moments` gives of ``[X y]`` with scale 1, in float64.
    coef ``(P, d, k)``, NaN where `solve_positive` has it so; intercept ``(P, k)``, 0 where not `is_centred`;
    loss ``(P, k)``, penalty included.  Returns the largest condition number, as `solve_positive` gives it;
    the least share that twice `solution_loss` has of its terms, where no problem is singular; and whether
    the co-moments are finite.  Waits for the device.  l2 is a Python float.  P is at least 1.

**Derivatives**, of ``reference`` and ``cpu`` alone

``outer_adjoint(G, a, b, of_a, of_b)``
    ``of_a = G b`` and ``of_b = Gᵀ a`` for each of B problems: what the gradient G of outer products makes for
    their factors.  G ``(B, m, n)``, a and of_a ``(B, m)``, b and of_b ``(B, n)``: float32 or float64, one
    dtype, C-contiguous, at least one element.  ``cpu`` reads G once.

**Small problems**, of ``reference`` and ``cpu`` alone, on C-contiguous float64 arrays of the host: P problems
of d columns and k models, each at least 1.  Their objectives are
``q(w) = wᵀ H w / 2 - cᵀ w + l1 * |w|_1 + l2 / 2 * |w|²``, with H ``(P, d, d)`` symmetric and positive
semidefinite; l1 and l2 ``(k,)`` are not negative.

``normal_equations(total, means, matrix, is_centred, H, c, yy)``
    From what `co_moments` gives of ``[X y]``, with scale 1: ``H = matrix / total`` of the d columns of X, c
    of these with the k of y, and yy of the latter with themselves, ``(P, k)``; where not `is_centred`, plus
    what the means, ``(P, d + k)``, have there: ``H += mean ⊗ mean`` and so on.

``solve_positive(A, b, out, condition)``
    ``out = A⁻¹ b`` for A ``(P, d, d)``, symmetric and positive definite; b and out ``(P, d, k)`` do not
    overlap.  Each A is first scaled to a unit diagonal, ``D^-1/2 A D^-1/2``, and factorised by Cholesky.
    ``condition`` ``(P,)`` receives the condition number of each scaled matrix in the 1-norm: infinity,
    and NaN in its part of out, where it is not positive definite to rounding, that is where a pivot is
    at most ``d * eps``, where an element of the diagonal of A is not positive, or where anything in A is
    not finite.

``solution_loss(H, c, yy, w, l2, loss, terms)``
    Of solutions w ``(P, d, k)`` of ``(H + l2) w = c``: ``loss = yy / 2 + q(w)`` without its penalties, which
    there is ``(yy - cᵀ w - l2 * |w|²) / 2``, and not below 0; and ``terms = yy + (sqrt(H_jj) · |w_j|)²``, how
    large the terms of the quadratic form may be that cancel each other.  c ``(P, d, 1 or k)``, yy
    ``(P, 1 or k)``; loss and terms ``(P, k)``.

``proximal_descent(H, c, w, *, l1, l2, learning_rate, values, norms)``
    ``T = len(norms)`` steps of proximal gradient descent, for each problem and model:
    ``w = soft_threshold(w - learning_rate * (H w - c + l2 * w), learning_rate * l1)``.
    c ``(P, d, k)``; w ``(P, d, k)`` is changed in place; learning_rate ``(k,)``.  ``values`` and ``norms``
    ``(T, P, k)`` receive q at w before each step, and the norm of what the step changed over
    learning_rate.  T may be 0.  A rate that is too large gives infinities and NaN, without a warning.

``coordinate_descent(H, c, yy, w, *, l1, l2, tol, max_iter, is_path, n_iter, gap)``
    The minimum of ``yy / 2 + q(w)``, by cyclic coordinate descent; with ``yy = yᵀSy / W`` its first part is
    half the mean squared error, and it is never negative.  c ``(P, d, 1)`` and yy ``(P, 1)`` for a target
    that the k models share, else ``(P, d, k)`` and ``(P, k)``.  w ``(P, d, k)`` holds the starts and receives
    the solutions; where `is_path`, each model but the first starts from the solution of the one before.
    A column with ``H_jj + l2 <= 0`` has coefficient 0.

    ``n_iter`` ``(P, k)``, int64, receives the sweeps, at most `max_iter`, and ``gap`` ``(P, k)`` a bound on
    how far the solution is above the minimum: the duality gap of scikit-learn's coordinate descent where
    ``l1 > 0``, else ``|gradient|² / (2 l2)`` where ``l2 > 0``, else NaN.  A model is done when, after a
    sweep over all columns whose largest change is at most `tol` of the largest coefficient (both in units
    of y), ``gap <= tol * yy``; without penalties, when ``max|Hw - c| <= tol * max|c|``.  It is done too
    when a whole sweep changes nothing but by rounding.  What is not finite ends in NaN.

Whoever calls has checked shapes and dtypes, and has allocated ``out``.  A backend copies only what
its kernels cannot read in place, launches on the caller's current stream and does not synchronise.
Its sums follow one tree that depends on the shape alone, so that the same inputs give the same bits.
"""
