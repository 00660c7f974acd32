"""The jobs of the command ``vecprod``: files in, one file out.

What is read is in ``files``, the work in the modules named after it, and ``run`` ties them together; formats
and outputs are those of `vecprod_gpu.stream`, on which this room stands.  Everything that can be wrong with a
file ends in a `BadInputError` of one line.
"""
