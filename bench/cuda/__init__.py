"""The rows of a CUDA GPU: ours and its peers on device arrays, beside the limits of its memory."""
