"""Linear regression: passes over the rows, and the small problems that are left of them."""
