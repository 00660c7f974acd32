"""What the backend ``cpu`` is made of: a room for each kind of operation, and here what they share.

`compiling` is how functions are compiled and kept, `llvm` and `vectors` what Numba has no words for, and
`processor` what this machine is good at.  `threads` is how work is shared.
"""
