// Enough of CUDA to run an unchanged .cu file on a CPU: one fibre per thread, blocks one after another.
//
// The blocks of a cooperative launch are alive together: one runs until some of its threads can only call
// look_again(), as a kernel does while it waits for what another block sends; then it is the next one's turn.
//
// It checks what a CPU can check: that every thread of a block reaches the same __syncthreads(), that
// uninitialised shared memory poisons the result (it is filled with NaNs), that nothing depends on the
// order of threads (every round runs them in the opposite order), that nothing is written past the shared
// memory asked for (what lies behind it is looked at after each block) and, under the address sanitizer,
// that nothing is read there either.  It says nothing of grid-wide order or of time.
//
// VECPROD_INPUT_POINTER may be counting_pointer<scalar_t>: then `shim_elements_read` counts reads of X.
//
// The blocks are run by scheduler.cpp, compiled once for all kernels: the standard library that it uses takes
// a compiler longer than most kernels do.

#include <math.h>
#include <stddef.h>

#include <utility>

#define SHIM_OF_THIS_LIBRARY __attribute__((visibility("hidden")))

#define __global__
#define __device__
#define __shared__
#define __launch_bounds__(...)
#define __syncthreads() shim::barrier(__FILE__, __LINE__)
#define look_again() shim::look()
// All warps of a block meet and shuffle together, so that either in divergent code is reported like a barrier there.
#define __syncwarp() shim::barrier(__FILE__, __LINE__)
#define __shfl_sync(mask, value, source, width) \
    shim::shuffle(value, threadIdx.x / (width) * (width) + (source), __FILE__, __LINE__)
#define __shfl_xor_sync(mask, value, across) shim::shuffle(value, threadIdx.x ^ (across), __FILE__, __LINE__)

struct alignas(16) uint4 {
    unsigned int x, y, z, w;
};

struct dim3 {
    unsigned int x, y, z;
};

extern SHIM_OF_THIS_LIBRARY dim3 threadIdx, blockIdx, blockDim, gridDim;

// One thread runs at a time.
static long long atomicMin(long long* address, long long value) {
    const long long before = *address;
    if (value < before) *address = value;
    return before;
}

static long long __double_as_longlong(double x) {
    long long bits;
    __builtin_memcpy(&bits, &x, sizeof bits);
    return bits;
}

constexpr size_t SHIM_SHARED_CAPACITY = 1 << 17;
static_assert(SHIM_SHARED_CAPACITY % sizeof(uint4) == 0, "shared memory is declared in 16-byte pieces");
extern SHIM_OF_THIS_LIBRARY uint4 shared_memory[SHIM_SHARED_CAPACITY / sizeof(uint4)];

// Defined at the end of the translation unit, where half_t is complete.
struct half_t;
static float half_to_float(half_t value);
static half_t float_to_half(float value);

extern "C" long long shim_elements_read;

// A pointer to the design matrix that counts the elements read through it.
template <class Element>
struct counting_pointer {
    const Element* address;

    counting_pointer operator+(long long elements) const { return {address + elements}; }
};

template <class Element>
static const Element* reading(counting_pointer<Element> source, long long elements) {
    shim_elements_read += elements;
    return source.address;
}

template <class Element>
static const Element* address_of(counting_pointer<Element> source) {
    return source.address;
}

namespace shim {

SHIM_OF_THIS_LIBRARY void barrier(const char* file, int line);
SHIM_OF_THIS_LIBRARY void look();

extern SHIM_OF_THIS_LIBRARY double* shuffled;  // what the threads of the running block hand to each other

// The value of another thread.
template <class Number>
static Number shuffle(Number value, unsigned int source, const char* file, int line) {
    static_assert(sizeof value <= sizeof(double), "a shuffle moves up to 8 bytes");
    __builtin_memcpy(&shuffled[threadIdx.x], &value, sizeof value);
    barrier(file, line);
    __builtin_memcpy(&value, &shuffled[source], sizeof value);
    barrier(file, line);
    return value;
}

// A kernel by name, launched as cuLaunchKernel does: each argument is read as the parameter's own type.
struct kernel {
    const char* name;
    int parameters;
    const size_t* parameter_bytes;
    void (*call)(void** arguments);
};

// Defined at the end of the translation unit; one without a name is the last.
extern SHIM_OF_THIS_LIBRARY const kernel kernels[];

template <class Parameter>
static Parameter read(const void* argument) {
    Parameter value;
    __builtin_memcpy(&value, argument, sizeof value);
    return value;
}

template <auto FUNCTION>
struct entry;

template <class... Parameters, void (*FUNCTION)(Parameters...)>
struct entry<FUNCTION> {
    static constexpr size_t PARAMETER_BYTES[] = {sizeof(Parameters)...};

    template <size_t... INDEX>
    static void call_with(void** arguments, std::index_sequence<INDEX...>) {
        FUNCTION(read<Parameters>(arguments[INDEX])...);
    }

    static void call(void** arguments) { call_with(arguments, std::index_sequence_for<Parameters...>()); }

    static constexpr kernel make(const char* name) { return {name, sizeof...(Parameters), PARAMETER_BYTES, call}; }
};

}  // namespace shim
