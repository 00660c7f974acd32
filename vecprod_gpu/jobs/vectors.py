"""The jobs whose results may be larger than memory: outer and cross products, block by block."""

import time
from collections.abc import Callable, Iterable, Mapping
from math import prod

from ..stream._outputs import cuts
from ..stream._products import Product
from ..stream._results import Result, write
from ..stream._vectors import Vectors, open_vectors
from .data import unnamed
from .files import Source
from .run import Input, Order, naming, prepared, takes_blocks, tell_of_array, write_blocks


def outer(order: Order, sources: Mapping[str, Source]) -> None:
    """The outer product of each row of a with that row of b; in a table, columns are called after both."""
    _run(order, sources, Product.outer, _pairs)


def cross(order: Order, sources: Mapping[str, Source]) -> None:
    """The cross product of each row of a with that row of b."""
    _run(order, sources, Product.cross, lambda a, b: a.names or b.names)


def _run(
    order: Order,
    sources: Mapping[str, Source],
    kind: Callable[[Vectors, Vectors], Product],
    names_of: Callable[[Vectors, Vectors], Iterable[str] | None],
) -> None:
    start = time.perf_counter()
    files = {argument: source.file for argument, source in sources.items()}
    is_streamed = takes_blocks(order)
    with prepared(order, [source.path for source in sources.values()]) as bar, naming(files):
        opened = {
            argument: open_vectors(source.file, columns=source.columns, header=source.header)
            for argument, source in sources.items()
        }
        product = kind(*opened.values())
        result = _result(order, product, names_of(*opened.values()))
        resumed = write_blocks(order, product, bar) if is_streamed else 0
        if not is_streamed:
            with order.output.replaced() as file:
                write(file, order.output, result, bar)
    inputs = [Input(name, one.name, tuple(one.shape), str(one.dtype)) for name, one in opened.items()]
    rows = resumed // max(1, prod(product.shape[1:]))
    more = f", {rows} rows not computed again" if rows else ""
    details = {"rows_resumed": rows} if order.checkpoint is not None else {}
    tell_of_array(order, inputs, result, start, more, **details)


def _result(order: Order, product: Product, names: Iterable[str] | None) -> Result:
    """What is written into an archive or a table, of which a block has whole rows."""
    grain = (1, *product.shape[1:]) if order.output.is_table else (1,) * len(product.shape)
    block = product.block(grain, order.memory)
    blocks = (values for _, values in product.blocks(cuts(product.shape, block)))
    return Result(product.shape, product.dtype, blocks, product.choice.backend, names)


def _pairs(a: Vectors, b: Vectors) -> Iterable[str] | None:
    """Names for the products of the columns of two tables, made only if they are asked for."""
    if len(a.shape) != 2 or len(b.shape) != 2:
        return None
    left, right = (vectors.names or unnamed(vectors.shape[1]) for vectors in (a, b))
    return (f"{one}*{other}" for one in left for other in right)
