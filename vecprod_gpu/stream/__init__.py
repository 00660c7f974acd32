"""Data larger than memory: read once, in batches, with the bits of the call on all of it."""
