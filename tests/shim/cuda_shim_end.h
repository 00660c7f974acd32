// What needs the types of common.cuh; the table of kernels follows it.

static float half_to_float(half_t value) {
    _Float16 half;
    __builtin_memcpy(&half, &value.bits, sizeof half);
    return half;
}

static half_t float_to_half(float value) {
    const _Float16 half = value;
    half_t result;
    __builtin_memcpy(&result.bits, &half, sizeof half);
    return result;
}
