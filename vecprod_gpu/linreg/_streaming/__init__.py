"""Rows that arrive in chunks, and the files of what was made of them."""
