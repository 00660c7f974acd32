// Numbers that the blocks of one launch send each other while it runs, without a barrier and without a fence.
//
// A message carries a double, and the number of the step that it belongs to, once beside each half of the double:
// PTX promises of a vector access only that each element arrives whole, so a message is there when both of its
// elements name the step.  What else a block has written is not promised to be seen by whoever has seen a message.
// All accesses go past the L1 cache.  Memory for messages starts as zeros, and steps are counted from 1.

typedef unsigned long long word_t;

struct alignas(16) message_t {
    word_t low, high;

    __device__ bool is_of(unsigned step) const { return unsigned(low) == step && unsigned(high) == step; }
};

union double_bits_t {
    double value;
    word_t bits;
};

inline __device__ double value_of(message_t message) {
    double_bits_t of;
    of.bits = message.low >> 32 | message.high >> 32 << 32;
    return of.value;
}

inline __device__ void send(message_t* to, double value, unsigned step) {
    double_bits_t of;
    of.value = value;
    const message_t message = {of.bits << 32 | step, of.bits >> 32 << 32 | step};
#ifdef __CUDACC__
    asm volatile("st.relaxed.gpu.global.v2.u64 [%0], {%1, %2};" ::"l"(__cvta_generic_to_global(to)),
                 "l"(message.low), "l"(message.high)
                 : "memory");
#else
    *to = message;
#endif
}

inline __device__ message_t look(const message_t* at) {
    message_t seen;
#ifdef __CUDACC__
    asm volatile("ld.relaxed.gpu.global.v2.u64 {%0, %1}, [%2];"
                 : "=l"(seen.low), "=l"(seen.high)
                 : "l"(__cvta_generic_to_global(at))
                 : "memory");
#else
    seen = *at;
#endif
    return seen;
}

#ifdef __CUDACC__
// A CPU that stands in for the GPU lets other threads and blocks go on here.
inline __device__ void look_again() {}
#endif

inline __device__ double receive(const message_t* from, unsigned step) {
    message_t seen = look(from);
    while (!seen.is_of(step)) {
        look_again();
        seen = look(from);
    }
    return value_of(seen);
}

constexpr int IN_FLIGHT = 8;  // messages that a thread asks for before it looks at the first

// One lane of a sum over blocks of rows, each of which sends one of the messages that lie `stride` apart.
inline __device__ double receive_lane(const message_t* from, int stride, int blocks, int lane, int lanes,
                                      unsigned step) {
    double sum = 0;
    for (int first = lane; first < blocks; first += IN_FLIGHT * lanes) {
        message_t seen[IN_FLIGHT];
        for (bool are_there = false; !are_there;) {
            are_there = true;
#pragma unroll
            for (int i = 0; i < IN_FLIGHT; ++i)
                if (first + i * lanes < blocks) seen[i] = look(from + (first + i * lanes) * stride);
#pragma unroll
            for (int i = 0; i < IN_FLIGHT; ++i)
                if (first + i * lanes < blocks) are_there = are_there && seen[i].is_of(step);
            if (!are_there) look_again();
        }
#pragma unroll
        for (int i = 0; i < IN_FLIGHT; ++i)
            if (first + i * lanes < blocks) sum += value_of(seen[i]);
    }
    return sum;
}

// The sum over `lanes` (16, 32 or 64) lanes, in the order of fold_lanes, for each of the threads that share it: 16
// neighbours or a whole warp, of which all warps call this together.  0 where nothing `is_asked_for`.
inline __device__ double receive_sum(const message_t* from, int stride, int blocks, int lanes, unsigned step,
                                     bool is_asked_for) {
    const int width = lanes < 32 ? lanes : 32, lane = int(threadIdx.x) % width;
    double sum = 0;
    if (is_asked_for) {
        sum = receive_lane(from, stride, blocks, lane, lanes, step);
        if (lanes > width) sum += receive_lane(from, stride, blocks, lane + width, lanes, step);
    }
    __syncwarp();
    for (int across = width / 2; across > 0; across /= 2) sum += __shfl_xor_sync(0xffffffff, sum, across);
    return sum;
}
