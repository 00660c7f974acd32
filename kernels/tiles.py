"""Tiles of a matrix of sums of outer products: the Numba twin of ``tiles.cuh``.

How the matrix is cut, where a tile's rows and columns lie in shared memory, and how they get there: by
plain loads, where the ``.cu`` keeps a ring of copies on their way.
"""

from collections import namedtuple

from numba import cuda, float64
from numba.cuda import config, types
from numba.cuda.extending import intrinsic

from .common import inlined

MOST_ENTRIES = 64  # of one thread
MOST_COLUMNS = 64  # of a tile
STAGE_BYTES = 18432  # of one side of a tile
MOST_STAGE_ROWS = 512
EXTRA_ROWS = 2  # that centring adds to a stage
ROWS_PER_SUM = 256
COLUMN_SLOTS = 128
WEIGHT_LANES = 32

Problem = namedtuple(
    "Problem",
    "X Y weights p q x_start y_start x_row_stride x_column_stride y_row_stride y_column_stride "
    "is_joint is_centred has_weight",
)

# The columns of [X Y] that a tile takes along one axis, and the places of what shared memory holds for
# them: mean and sums in the widest type, centre, shift and values in the summing type.
Side = namedtuple("Side", "first columns pitch lanes mean sums centre shift values")

# What a block computes, and shared memory as it sees it.
Tile = namedtuple(
    "Tile",
    "acc wide weight_sums left right is_diagonal sides stage_rows right_patches tasks groups weights",
)


@intrinsic
def _compiled_edge_of(typing_context, array):
    """Type ``edge_of``, a constant of the array's type."""
    is_integer = isinstance(array.dtype, types.Integer)
    edge = 4 if is_integer else 32 * 8 // array.dtype.bitwidth
    return types.int64(array), lambda context, *_: context.get_constant(types.int64, edge)


def _simulated_edge_of(array):
    """``edge_of`` of a NumPy array."""
    return 4 if array.dtype.kind in "iu" else 32 // array.dtype.itemsize


edge_of = _simulated_edge_of if config.ENABLE_CUDASIM else _compiled_edge_of
"""Rows and columns of the entries that one thread computes, in registers."""


# ---- Layout -------------------------------------------------------------------------------------


@inlined
def power_of_two_up_to(limit):
    """Return the largest power of two that is at most `limit`."""
    power = 1
    while 2 * power <= limit:
        power *= 2
    return power


@inlined
def _span(edge):
    """Threads along one side of a patch, who share what they read of shared memory."""
    return 1 if edge == 8 else 2


@inlined
def cut_axis(columns, edge):
    """Columns of a tile, even shares of whole patches, for each of which there is a thread; and the tiles."""
    most = edge
    while 2 * most <= MOST_COLUMNS and 4 * most * most <= edge * edge * cuda.blockDim.x:
        most *= 2
    shares = (columns + most - 1) // most
    share = (columns + shares - 1) // shares
    patch = _span(edge) * edge
    width = (share + patch - 1) // patch * patch
    return width, (columns + width - 1) // width


@inlined
def _pitch(width, itemsize):
    """Elements from one staged row to the next: an odd number of 16-byte pieces."""
    return (_pieces(width, itemsize) | 1) * 16 // itemsize


@inlined
def _pieces(count, itemsize):
    """Pieces of 16 bytes that so many numbers take."""
    return (count * itemsize + 15) // 16


@inlined
def _side_pieces(width, acc, wide):
    """Pieces that a side takes besides its values."""
    lanes = power_of_two_up_to(COLUMN_SLOTS // width)
    sums = _pieces(lanes * width, wide.itemsize)
    return _pieces(width, wide.itemsize) + sums + _pieces(2 * width, acc.itemsize)


@inlined
def _make_side(origin, columns, width, tile, acc, wide, piece, values_piece):
    """Cut one axis of a tile, and its shared memory."""
    lanes = power_of_two_up_to(COLUMN_SLOTS // width)
    sums_piece = piece + _pieces(width, wide.itemsize)
    centre = (sums_piece + _pieces(lanes * width, wide.itemsize)) * 16 // acc.itemsize
    return Side(
        origin + tile * width,
        min(width, columns - tile * width),
        _pitch(width, acc.itemsize),
        lanes,
        piece * 16 // wide.itemsize,
        sums_piece * 16 // wide.itemsize,
        centre,
        centre + width,
        values_piece * 16 // acc.itemsize,
    )


@inlined
def side_of(tile, number):
    """One of the sides, of which a tile on the diagonal has one."""
    return tile.left if number == 0 else tile.right


@inlined
def _tile_position(pair, is_joint, left_tiles, right_tiles):
    """Row and column of the pair-th tile: of a joint matrix, from the diagonal on."""
    if not is_joint:
        row = pair // right_tiles
        return row, pair - row * right_tiles
    row = 0
    while pair >= left_tiles - row:
        pair -= left_tiles - row
        row += 1
    return row, row + pair


@inlined
def make_tile(problem, pair, left_columns, right_columns, partials):
    """Cut the pair-th tile of a matrix, and the block's shared memory."""
    acc = cuda.shared.array(0, problem.weights.dtype)
    wide = cuda.shared.array(0, partials.dtype)
    double = cuda.shared.array(0, float64)
    edge = edge_of(problem.weights)
    patch = _span(edge) * edge
    left_width, left_tiles = cut_axis(left_columns, edge)
    right_width, right_tiles = cut_axis(right_columns, edge)
    row, column = _tile_position(pair, problem.is_joint, left_tiles, right_tiles)
    is_diagonal = problem.is_joint and row == column

    limit = STAGE_BYTES // acc.itemsize // _pitch(max(left_width, right_width), acc.itemsize)
    stage_rows = min(limit // 8 * 8, MOST_STAGE_ROWS)
    rows = stage_rows + EXTRA_ROWS
    weights_piece = _pieces(WEIGHT_LANES, 8)
    left_piece = weights_piece + _pieces(rows, acc.itemsize)
    right_piece = left_piece + _side_pieces(left_width, acc, wide)
    left_values = right_piece if is_diagonal else right_piece + _side_pieces(right_width, acc, wide)
    right_values = left_values + _pieces(rows * _pitch(left_width, acc.itemsize), acc.itemsize)

    origin = 0 if problem.is_joint else problem.p
    left = _make_side(0, left_columns, left_width, row, acc, wide, left_piece, left_values)
    right = _make_side(origin, right_columns, right_width, column, acc, wide, right_piece, right_values)
    if is_diagonal:
        right = left
    left_patches = -(-left.columns // patch)
    right_patches = -(-right.columns // patch)
    patches = left_patches * (left_patches + 1) // 2 if is_diagonal else left_patches * right_patches
    tasks = patches * _span(edge) * _span(edge)
    return Tile(
        acc,
        wide,
        double,
        left,
        right,
        is_diagonal,
        1 if is_diagonal else 2,
        stage_rows,
        right_patches,
        tasks,
        cuda.blockDim.x // tasks,
        weights_piece * 16 // acc.itemsize,
    )


@inlined
def _patch_number(tile, row, column):
    """Return the number of a patch: row by row, on the diagonal from the diagonal on."""
    skipped = row * (row + 1) // 2 if tile.is_diagonal else 0
    return row * tile.right_patches - skipped + column


@inlined
def first_entry_of(tile, task, edge):
    """Row and column of the first entry that a thread computes."""
    span = _span(edge)
    patch = task // (span * span)
    corner = task - patch * span * span
    above = 0 if tile.is_diagonal else patch // tile.right_patches
    while tile.is_diagonal and _patch_number(tile, above + 1, above + 1) <= patch:
        above += 1
    across = patch - _patch_number(tile, above, 0)
    lower = corner // span
    return (span * above + lower) * edge, (span * across + corner - span * lower) * edge


# ---- Stage --------------------------------------------------------------------------------------


@inlined
def _stage_part(problem, tile, side, is_y, first_row, rows):
    """Bring the columns of a side that lie in X, or in Y, to shared memory, less their centre.

    Neighbouring threads run along the axis of smaller stride.
    """
    of_x = max(0, min(side.columns, problem.p - side.first))
    array = problem.Y if is_y else problem.X
    columns = side.columns - of_x if is_y else of_x
    offset = of_x if is_y else 0
    row_stride = problem.y_row_stride if is_y else problem.x_row_stride
    column_stride = problem.y_column_stride if is_y else problem.x_column_stride
    first_column = side.first + of_x - problem.p if is_y else side.first
    start = problem.y_start if is_y else problem.x_start
    start += first_row * row_stride + first_column * column_stride

    along_rows = row_stride < column_stride
    fast_count = rows if along_rows else columns
    for i in range(cuda.threadIdx.x, rows * columns, cuda.blockDim.x):
        slow = i // fast_count
        fast = i - slow * fast_count
        row = fast if along_rows else slow
        column = slow if along_rows else fast
        x = tile.acc.dtype.type(array[start + row * row_stride + column * column_stride])
        centre = tile.acc[side.centre + offset + column]
        tile.acc[side.values + row * side.pitch + offset + column] = x - centre


@inlined
def stage(problem, tile, first_row, rows):
    """Bring some rows and their weights to shared memory."""
    if problem.has_weight:
        for row in range(cuda.threadIdx.x, rows, cuda.blockDim.x):
            tile.acc[tile.weights + row] = problem.weights[first_row + row].real
    for part in range(2 * tile.sides):
        _stage_part(problem, tile, side_of(tile, part // 2), part % 2 == 1, first_row, rows)
    cuda.syncthreads()
