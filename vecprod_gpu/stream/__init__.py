"""Data larger than memory: read once, in batches, with the bits of the call on all of it."""

from ._products import batched_outer, cross

__all__ = ["batched_outer", "cross"]
