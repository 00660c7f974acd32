"""What a fit reads, the solvers, and what they find."""
