"""What the backend ``reference`` is made of, beside its products: plain NumPy."""
