"""How the blocks of rows of a sum are cut into pieces of work, which the threads share."""

STRIPES = 64
"""Pieces, each a whole subtree of blocks."""


def blocks_per_stripe(blocks: int) -> int:
    """A power of two, so that a stripe is a subtree and the result does not depend on it."""
    return 1 << max(0, -(-blocks // STRIPES) - 1).bit_length()
