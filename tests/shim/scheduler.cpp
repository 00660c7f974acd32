// Runs the blocks of a launch; what is checked of them stands in cuda_shim.h.

#include <ucontext.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "cuda_shim.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
#define ASAN_POISON_MEMORY_REGION(start, size)
#define ASAN_UNPOISON_MEMORY_REGION(start, size)
#endif

dim3 threadIdx, blockIdx, blockDim, gridDim;

uint4 shared_memory[SHIM_SHARED_CAPACITY / sizeof(uint4)];

// Side by side a quiet NaN of any width; and neither byte is one that kernels write often, as 0 and -1 are.
constexpr unsigned short SHIM_POISON = 0x7FFB;

extern "C" {
long long shim_elements_read = 0;
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
    bool is_looking;
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

void barrier(const char* file, int line) {
    current->file = file;
    current->line = line;
    yield();
}

void look() {
    current->is_looking = true;
    yield();
}

double* shuffled;

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
    next->is_looking = false;
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

static const std::vector<unsigned short> poison(SHIM_SHARED_CAPACITY / sizeof(SHIM_POISON), SHIM_POISON);

// What lies behind the shared memory that a launch asks for is out of bounds.
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

enum outcome_t { ENDED, LOOKING, FAILED };

struct block_t {
    dim3 index;
    size_t first_fibre, shared_bytes;
    std::vector<char> shared{};  // while other blocks run
    std::vector<double> shuffled = std::vector<double>(blockDim.x);
    bool forwards = true;

    fibre& at(unsigned int thread) const { return *fibres[first_fibre + thread]; }

    void start() const {
        while (fibres.size() < first_fibre + blockDim.x) fibres.push_back(std::make_unique<fibre>());
        for (unsigned int thread = 0; thread < blockDim.x; ++thread) {
            at(thread).is_done = false;
            at(thread).is_looking = true;  // for a beginning
        }
    }

    // Whether all threads stand at the same barrier, or have all ended.
    bool is_together() const {
        for (unsigned int thread = 1; thread < blockDim.x; ++thread)
            if (!is_with(at(thread), at(0))) {
                error = "divergent __syncthreads(): thread 0 " + whereabouts(at(0)) + ", but thread " +
                        std::to_string(thread) + " " + whereabouts(at(thread));
                return false;
            }
        return true;
    }

    // Runs those threads that are not at a barrier, in an order that changes; returns how many are not at one yet.
    unsigned int run_round() {
        unsigned int looking = 0;
        for (unsigned int i = 0; i < blockDim.x; ++i) {
            const unsigned int thread = forwards ? i : blockDim.x - 1 - i;
            if (at(thread).is_looking) resume(&at(thread), thread);
            looking += at(thread).is_looking;
        }
        forwards = !forwards;
        return looking;
    }

    // Goes on until all threads have ended, or some of them can only look again.
    outcome_t run() {
        blockIdx = index;
        shim::shuffled = shuffled.data();
        poison_shared_memory(shared_bytes);
        std::copy(shared.begin(), shared.end(), reinterpret_cast<char*>(shared_memory));
        outcome_t outcome = run_rounds();
        if (!kept_to_shared_memory(shared_bytes)) return FAILED;
        const char* left = reinterpret_cast<const char*>(shared_memory);
        shared.assign(left, left + shared_bytes);
        return outcome;
    }

    outcome_t run_rounds() {
        while (true) {
            for (unsigned int looking = blockDim.x, before = looking + 1; looking; before = looking) {
                looking = run_round();
                if (looking == before) return LOOKING;
            }
            if (!is_together()) return FAILED;
            if (at(0).is_done) return ENDED;
            for (unsigned int thread = 0; thread < blockDim.x; ++thread) at(thread).is_looking = true;
        }
    }
};

// Their fibres stand in the middle of a kernel.
static bool failed() {
    fibres.clear();
    return false;
}

constexpr int MOST_TURNS = 10000;

static bool run_together(std::vector<block_t>& blocks) {
    for (block_t& block : blocks) block.start();
    std::vector<bool> has_ended(blocks.size());
    size_t ended = 0;
    for (int turn = 0; turn < MOST_TURNS; ++turn)
        for (size_t i = 0; i < blocks.size(); ++i) {
            if (has_ended[i]) continue;
            const outcome_t outcome = blocks[i].run();
            if (outcome == FAILED) return failed();
            has_ended[i] = outcome == ENDED;
            ended += has_ended[i];
            if (ended == blocks.size()) return true;
        }
    error = "blocks wait for what none of them sends";
    return failed();
}

static bool run_grid(unsigned int x, unsigned int y, unsigned int threads, size_t shared_bytes, bool is_cooperative) {
    gridDim = {x, y, 1};
    blockDim = {threads, 1, 1};
    std::vector<block_t> blocks;
    for (unsigned int j = 0; j < y; ++j)
        for (unsigned int i = 0; i < x; ++i) {
            if (!is_cooperative) blocks.clear();
            blocks.push_back({{i, j, 0}, blocks.size() * threads, shared_bytes});
            if (!is_cooperative && !run_together(blocks)) return false;
        }
    return !is_cooperative || run_together(blocks);
}

static const kernel* find(const char* name) {
    for (const kernel* each = kernels; each->name; ++each)
        if (!strcmp(each->name, name)) return each;
    return nullptr;
}

}  // namespace shim

extern "C" {

// Number of parameters, whose sizes go to `bytes` (room for 64); -1 where no kernel has the name.
int shim_parameters(const char* name, size_t* bytes) {
    const shim::kernel* found = shim::find(name);
    if (!found) return -1;
    memcpy(bytes, found->parameter_bytes, found->parameters * sizeof *bytes);
    return found->parameters;
}

// The error's text, or null where the kernel ran.
const char* shim_launch(const char* name, unsigned int x, unsigned int y, unsigned int threads, size_t shared_bytes,
                        bool is_cooperative, void** arguments) {
    struct call_t {
        const shim::kernel* kernel;
        void** arguments;
    } call = {shim::find(name), arguments};
    shim::body = [](void* it) { static_cast<call_t*>(it)->kernel->call(static_cast<call_t*>(it)->arguments); };
    shim::body_arguments = &call;
    return shim::run_grid(x, y, threads, shared_bytes, is_cooperative) ? nullptr : shim::error.c_str();
}
}
