"""Data larger than memory, read in batches."""
