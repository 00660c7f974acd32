"""Gram matrices and co-moments: sums of outer products of rows, centred or not."""
