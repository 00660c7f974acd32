"""Cross, outer and dot products: inner loops of generalised ufuncs, and what fills large results."""
