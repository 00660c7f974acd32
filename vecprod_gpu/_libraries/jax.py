"""Arrays of JAX, outside of ``jax.jit``; what is traced goes through `vecprod_gpu.jax`."""

import jax
import jax.numpy as jnp
import numpy as np

from .._arrays import Array
from ..errors import DeviceError
from ._library import Library, writable

_WORTH_SHARING = 1 << 16  # bytes, below which a copy costs less than DLPack's exchange


class Jax(Library):
    """JAX runs on streams of its own and its arrays cannot be written to."""

    name = "jax"
    has_mutable_arrays = False

    def view(self, array: jax.Array, function: str) -> Array:
        if isinstance(array, jax.core.Tracer):
            raise DeviceError(
                f"{function} was given an array that JAX is tracing: use the functions of vecprod_gpu.jax, "
                "which jit, grad and vmap see through"
            )
        if all(device.platform == "cpu" for device in array.devices()):
            return np.asarray(array)
        return super().view(array, function)

    def give(self, native: Array, like: jax.Array) -> jax.Array:
        native = writable(native)
        given = jnp.asarray(native) if native.nbytes < _WORTH_SHARING else jnp.from_dlpack(native)
        return given if given.devices() == like.devices() else jax.device_put(given, like.sharding)

    def widened(self, array: jax.Array) -> jax.Array:
        return array.astype(jnp.float32)

    def narrowed(self, array: jax.Array) -> jax.Array:
        return array.astype(jnp.bfloat16)


LIBRARY = Jax()
