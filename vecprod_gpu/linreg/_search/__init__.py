"""Folds, grids, candidates and scores of a cross-validated search."""
