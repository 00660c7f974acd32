"""Arrays of other libraries: seen in place, without a copy, and results given back in their kind.

NumPy's, CuPy's and Numba's own arrays are native and do not pass through here.  An array of any other
library is a *guest*: the call is made on a NumPy or CuPy view of its memory, on the stream that its library
launches on, and what it returns becomes an array of that library again, without a copy too.

The protocols carry all of this, DLPack in both directions and the Array API's namespace for what is left:
array-api-compat would add a layer over functions that are not called here.

bfloat16, which NumPy lacks, is widened to float32 on the way in and rounded once on the way out.
"""

from ._calls import call, takes_any_library
from ._known import library_of

__all__ = ["call", "library_of", "takes_any_library"]
