"""The rows of a CPU: ours and its peers on NumPy arrays, beside the limits of the memory."""
