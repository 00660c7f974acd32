// Enough of CUDA to run an unchanged .cu file on a CPU: one fibre per thread, blocks one after another.
//
// It checks what a CPU can check: that every thread of a block reaches the same __syncthreads(), that
// uninitialised shared memory poisons the result (it is filled with NaNs), that nothing depends on the
// order of threads (every round runs them in the opposite order), that nothing is written past the shared
// memory asked for (what lies behind it is looked at after each block) and, under the address sanitizer,
// that nothing is read there either.  It says nothing of grid-wide order or of time.
//
// VECPROD_INPUT_POINTER may be counting_pointer<scalar_t>: then `shim_elements_read` counts reads of X.

#include <math.h>
#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
#define ASAN_POISON_MEMORY_REGION(start, size)
#define ASAN_UNPOISON_MEMORY_REGION(start, size)
#endif

#define __global__
#define __device__
#define __shared__
#define __launch_bounds__(...)
#define __syncthreads() shim::barrier(__FILE__, __LINE__)
// All warps of a block shuffle together, so that a shuffle in divergent code is reported like a barrier there.
#define __shfl_sync(mask, value, source, width) \
    shim::shuffle(value, threadIdx.x / (width) * (width) + (source), __FILE__, __LINE__)
#define __shfl_xor_sync(mask, value, across) shim::shuffle(value, threadIdx.x ^ (across), __FILE__, __LINE__)

struct alignas(16) uint4 {
    unsigned int x, y, z, w;
};

struct dim3 {
    unsigned int x, y, z;
};

static dim3 threadIdx, blockIdx, blockDim, gridDim;

// One thread runs at a time.
static long long atomicMin(long long* address, long long value) {
    const long long before = *address;
    if (value < before) *address = value;
    return before;
}

static long long __double_as_longlong(double x) {
    long long bits;
    std::memcpy(&bits, &x, sizeof bits);
    return bits;
}

constexpr size_t SHIM_SHARED_CAPACITY = 1 << 17;
static_assert(SHIM_SHARED_CAPACITY % sizeof(uint4) == 0, "shared memory is declared in 16-byte pieces");
uint4 shared_memory[SHIM_SHARED_CAPACITY / sizeof(uint4)];

// Side by side a quiet NaN of any width; and neither byte is one that kernels write often, as 0 and -1 are.
constexpr unsigned short SHIM_POISON = 0x7FFB;

// Defined at the end of the translation unit, where half_t is complete.
struct half_t;
static float half_to_float(half_t value);
static half_t float_to_half(float value);

extern "C" {
long long shim_elements_read = 0;
}

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

constexpr size_t STACK_BYTES = 1 << 17;

// Where to go on, as __builtin_setjmp leaves it: unlike swapcontext it asks nothing of the system.
typedef void* place_t[5];

struct fibre {
    place_t place;
    std::unique_ptr<char[]> stack{new char[STACK_BYTES]};  // not touched where no thread comes
    const char* file;
    int line;
    bool has_begun = false;
    bool is_done;
    void* fake_stack;
};

static std::vector<std::unique_ptr<fibre>> fibres;  // kept from one block, and one launch, to the next
static fibre* current;
static place_t scheduler;
static void (*body)(void*);
static void* body_arguments;
static std::string error;

// The address sanitizer must be told of every change of stack.
static const void* scheduler_stack;
static size_t scheduler_stack_bytes;
static void* scheduler_fake_stack;

static void leave(void** fake_stack, const void* bottom, size_t bytes) {
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(fake_stack, bottom, bytes);
#endif
}

static void arrive(void* fake_stack, const void** bottom, size_t* bytes) {
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(fake_stack, bottom, bytes);
#endif
}

// Not inlined, since the two halves of a switch may not belong to one function.
__attribute__((noinline)) static void jump(void** place) { __builtin_longjmp(place, 1); }

__attribute__((noinline)) static void switch_places(void** from, void** to) {
    if (!__builtin_setjmp(from)) jump(to);
}

static void yield() {
    fibre* self = current;
    leave(&self->fake_stack, scheduler_stack, scheduler_stack_bytes);
    switch_places(self->place, scheduler);
    arrive(self->fake_stack, &scheduler_stack, &scheduler_stack_bytes);
}

static void barrier(const char* file, int line) {
    current->file = file;
    current->line = line;
    yield();
}

static double shuffled[1024];

// The value of another thread.
template <class Number>
static Number shuffle(Number value, unsigned int source, const char* file, int line) {
    static_assert(sizeof value <= sizeof *shuffled, "a shuffle moves up to 8 bytes");
    memcpy(&shuffled[threadIdx.x], &value, sizeof value);
    barrier(file, line);
    memcpy(&value, &shuffled[source], sizeof value);
    barrier(file, line);
    return value;
}

static void run_fibre() {
    arrive(nullptr, &scheduler_stack, &scheduler_stack_bytes);
    while (true) {
        body(body_arguments);
        current->is_done = true;
        yield();
    }
}

// On a stack of its own, which only the system can move to.
__attribute__((noinline)) static void begin(fibre* next) {
    if (__builtin_setjmp(scheduler)) return;
    static ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_sp = next->stack.get();
    context.uc_stack.ss_size = STACK_BYTES;
    context.uc_link = nullptr;
    makecontext(&context, run_fibre, 0);
    next->has_begun = true;
    setcontext(&context);
}

static void resume(fibre* next, unsigned int thread) {
    current = next;
    threadIdx = {thread, 0, 0};
    leave(&scheduler_fake_stack, next->stack.get(), STACK_BYTES);
    if (next->has_begun)
        switch_places(scheduler, next->place);
    else
        begin(next);
    arrive(scheduler_fake_stack, nullptr, nullptr);
}

static bool is_with(const fibre& one, const fibre& other) {
    if (one.is_done || other.is_done) return one.is_done && other.is_done;
    return one.line == other.line && (one.file == other.file || !strcmp(one.file, other.file));
}

static std::string whereabouts(const fibre& each) {
    return each.is_done ? "has ended" : std::string("waits at ") + each.file + ":" + std::to_string(each.line);
}

// Whether all threads stand at the same barrier, or have all ended.
static bool is_together(unsigned int threads) {
    for (unsigned int thread = 1; thread < threads; ++thread)
        if (!is_with(*fibres[thread], *fibres[0])) {
            error = "divergent __syncthreads(): thread 0 " + whereabouts(*fibres[0]) + ", but thread " +
                    std::to_string(thread) + " " + whereabouts(*fibres[thread]);
            fibres.clear();  // they stand in the middle of a kernel
            return false;
        }
    return true;
}

static const std::vector<unsigned short> poison(SHIM_SHARED_CAPACITY / sizeof(SHIM_POISON), SHIM_POISON);

static void poison_shared_memory(size_t shared_bytes) {
    ASAN_UNPOISON_MEMORY_REGION(shared_memory, SHIM_SHARED_CAPACITY);
    memcpy(shared_memory, poison.data(), SHIM_SHARED_CAPACITY);
    ASAN_POISON_MEMORY_REGION(reinterpret_cast<char*>(shared_memory) + shared_bytes,
                              SHIM_SHARED_CAPACITY - shared_bytes);
}

// Whether the block has left alone what lies behind its shared memory.
static bool kept_to_shared_memory(size_t shared_bytes) {
    ASAN_UNPOISON_MEMORY_REGION(shared_memory, SHIM_SHARED_CAPACITY);
    const char* left = reinterpret_cast<const char*>(shared_memory) + shared_bytes;
    const char* expected = reinterpret_cast<const char*>(poison.data()) + shared_bytes;
    if (!memcmp(left, expected, SHIM_SHARED_CAPACITY - shared_bytes)) return true;
    error = "wrote past the " + std::to_string(shared_bytes) + " bytes of its shared memory";
    return false;
}

static bool run_block(size_t shared_bytes) {
    const unsigned int threads = blockDim.x;
    poison_shared_memory(shared_bytes);
    while (fibres.size() < threads) fibres.push_back(std::make_unique<fibre>());
    for (unsigned int thread = 0; thread < threads; ++thread) fibres[thread]->is_done = false;
    for (bool forwards = true;; forwards = !forwards) {
        for (unsigned int i = 0; i < threads; ++i) {
            const unsigned int thread = forwards ? i : threads - 1 - i;
            resume(fibres[thread].get(), thread);
        }
        if (!is_together(threads)) return false;
        if (fibres[0]->is_done) return kept_to_shared_memory(shared_bytes);
    }
}

static bool run_grid(unsigned int x, unsigned int y, unsigned int threads, size_t shared_bytes) {
    gridDim = {x, y, 1};
    blockDim = {threads, 1, 1};
    for (unsigned int j = 0; j < y; ++j)
        for (unsigned int i = 0; i < x; ++i) {
            blockIdx = {i, j, 0};
            if (!run_block(shared_bytes)) return false;
        }
    return true;
}

// A kernel by name, launched as cuLaunchKernel does: each argument is read as the parameter's own type.
struct kernel {
    const char* name;
    std::vector<size_t> parameter_bytes;
    void (*call)(void** arguments);
};

template <class Parameter>
static Parameter read(const void* argument) {
    Parameter value;
    memcpy(&value, argument, sizeof value);
    return value;
}

template <auto FUNCTION>
struct entry;

template <class... Parameters, void (*FUNCTION)(Parameters...)>
struct entry<FUNCTION> {
    template <size_t... INDEX>
    static void call_with(void** arguments, std::index_sequence<INDEX...>) {
        FUNCTION(read<Parameters>(arguments[INDEX])...);
    }

    static void call(void** arguments) { call_with(arguments, std::index_sequence_for<Parameters...>()); }

    static kernel make(const char* name) { return {name, {sizeof(Parameters)...}, call}; }
};

static const std::vector<kernel>& kernels();

static const kernel* find(const char* name) {
    for (const kernel& each : kernels())
        if (!strcmp(each.name, name)) return &each;
    return nullptr;
}

}  // namespace shim

extern "C" {

// Number of parameters, whose sizes go to `bytes` (room for 64); -1 where no kernel has the name.
int shim_parameters(const char* name, size_t* bytes) {
    const shim::kernel* found = shim::find(name);
    if (!found) return -1;
    for (size_t i = 0; i < found->parameter_bytes.size(); ++i) bytes[i] = found->parameter_bytes[i];
    return int(found->parameter_bytes.size());
}

// The error's text, or null where the kernel ran.
const char* shim_launch(const char* name, unsigned int x, unsigned int y, unsigned int threads, size_t shared_bytes,
                        void** arguments) {
    struct call_t {
        const shim::kernel* kernel;
        void** arguments;
    } call = {shim::find(name), arguments};
    shim::body = [](void* it) { static_cast<call_t*>(it)->kernel->call(static_cast<call_t*>(it)->arguments); };
    shim::body_arguments = &call;
    return shim::run_grid(x, y, threads, shared_bytes) ? nullptr : shim::error.c_str();
}
}
