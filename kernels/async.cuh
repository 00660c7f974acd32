// Copies from global to shared memory that go on while the thread computes.
//
// A thread's copies belong to the group that its next commit_copies() closes.  wait_for_copies<PENDING>()
// returns once all but the last PENDING groups are there, for the thread that asked for them: others see
// them after a barrier.  Where `is_there` is false zeros arrive, and the source is not read.  Before compute
// capability 8.0, and on a CPU, a copy is over when it returns.

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
inline __device__ unsigned shared_address(void* address) { return unsigned(__cvta_generic_to_shared(address)); }

// 16 bytes, past the L1 cache; both addresses are multiples of 16.
inline __device__ void copy_async(void* shared, const void* global, bool is_there = true) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global),
                 "r"(is_there ? 16 : 0)
                 : "memory");
}

// One number of 4 or 8 bytes.
template <class Number>
inline __device__ void copy_async_scalar(Number* shared, const Number* global, bool is_there = true) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared_address(shared)), "l"(global),
                 "n"(int(sizeof(Number))), "r"(is_there ? int(sizeof(Number)) : 0)
                 : "memory");
}

inline __device__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

template <int PENDING>
inline __device__ void wait_for_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}
#else
inline __device__ void copy_async(void* shared, const void* global, bool is_there = true) {
    const uint4 zeros = {0, 0, 0, 0};
    *reinterpret_cast<uint4*>(shared) = is_there ? *reinterpret_cast<const uint4*>(global) : zeros;
}

template <class Number>
inline __device__ void copy_async_scalar(Number* shared, const Number* global, bool is_there = true) {
    *shared = is_there ? *global : Number();
}

inline __device__ void commit_copies() {}

template <int PENDING>
inline __device__ void wait_for_copies() {}
#endif
