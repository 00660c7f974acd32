// What the memory itself can do, and the least that a launch costs; see cuda/limits.py.
//
// fill, copy, triad: a chunk of 16 bytes for each thread and as many blocks as that takes.  A grid-stride
// loop over a few waves of blocks was 5 % slower on an H100 (2.83 against 2.99 TB/s for the triad).
// read: 8 chunks in flight a thread, so that a multiprocessor holds more than the 48 KiB that cover the
// latency; the sum is stored only where it equals a number that it never equals.

struct alignas(16) chunk_t {
    unsigned int x, y, z, w;
};

struct alignas(16) floats_t {
    float x, y, z, w;
};

static __device__ long long thread_index() { return blockIdx.x * (long long)blockDim.x + threadIdx.x; }

extern "C" __global__ void limit_fill(chunk_t* out, long long chunks) {
    const long long i = thread_index();
    if (i < chunks) out[i] = {1, 2, 3, 4};
}

extern "C" __global__ void limit_copy(const chunk_t* in, chunk_t* out, long long chunks) {
    const long long i = thread_index();
    if (i < chunks) out[i] = in[i];
}

// Writes `writes` chunks for each that it reads.
extern "C" __global__ void limit_spread(const chunk_t* in, chunk_t* out, long long chunks, long long writes) {
    const long long i = thread_index();
    if (i < chunks) out[i] = in[i / writes];
}

extern "C" __global__ void limit_triad(const floats_t* a, const floats_t* b, floats_t* out, long long chunks) {
    const long long i = thread_index();
    if (i >= chunks) return;
    const floats_t u = a[i], v = b[i];
    out[i] = {u.x + v.x, u.y + v.y, u.z + v.z, u.w + v.w};
}

extern "C" __global__ void limit_read(const chunk_t* in, long long chunks, unsigned int* never) {
    constexpr int IN_FLIGHT = 8;
    const long long stride = gridDim.x * (long long)blockDim.x;
    unsigned int sum = 0;
    long long i = thread_index();
    for (; i + (IN_FLIGHT - 1) * stride < chunks; i += IN_FLIGHT * stride) {
        chunk_t held[IN_FLIGHT];
#pragma unroll
        for (int k = 0; k < IN_FLIGHT; ++k) held[k] = in[i + k * stride];
#pragma unroll
        for (int k = 0; k < IN_FLIGHT; ++k) sum += held[k].x ^ held[k].y ^ held[k].z ^ held[k].w;
    }
    for (; i < chunks; i += stride) sum += in[i].x ^ in[i].y ^ in[i].z ^ in[i].w;
    if (sum == 0x12345) *never = sum;
}

// The cross products of a few vectors, without a host side of its own: the bare launch.
extern "C" __global__ void bare_cross(const float* a, const float* b, float* out, long long count) {
    const long long i = 3 * thread_index();
    if (i >= 3 * count) return;
    for (int k = 0; k < 3; ++k) {
        const int next = (k + 1) % 3, last = (k + 2) % 3;
        out[i + k] = a[i + next] * b[i + last] - a[i + last] * b[i + next];
    }
}
