// What every kernel uses: 64-bit indices, grid-stride loops, 16-byte accesses, conversions, lane sums.
//
// The compile step puts the typedefs of `scalar_t` (stored) and `acc_t` (summed) before this text and
// a kernel file after it.  No CUDA header is included, so that NVRTC needs no include path.
//
// Everything is compiled with -fmad=false: a contracted a*b - c*d would make a × a nonzero.  Where a
// fused multiply-add is wanted, it is written as fma() or fused().

typedef long long index_t;

// ---- Arithmetic -------------------------------------------------------------------------------

struct half_t {
    unsigned short bits;
};

template <class Real>
struct complex_t {
    Real real, imag;
};

#ifdef __CUDACC__
// PTX rather than cuda_fp16.h, which a bare CuPy wheel does not carry.
inline __device__ float half_to_float(half_t value) {
    float result;
    asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(value.bits));
    return result;
}

inline __device__ half_t float_to_half(float value) {
    half_t result;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(result.bits) : "f"(value));
    return result;
}

// PTX rather than operators: CuPy compiles with -ftz=true, which would flush subnormal numbers to zero.
inline __device__ float multiply(float x, float y) {
    float result;
    asm("mul.rn.f32 %0, %1, %2;" : "=f"(result) : "f"(x), "f"(y));
    return result;
}

inline __device__ float add(float x, float y) {
    float result;
    asm("add.rn.f32 %0, %1, %2;" : "=f"(result) : "f"(x), "f"(y));
    return result;
}

inline __device__ float subtract(float x, float y) {
    float result;
    asm("sub.rn.f32 %0, %1, %2;" : "=f"(result) : "f"(x), "f"(y));
    return result;
}

inline __device__ float negate(float x) {
    float result;
    asm("neg.f32 %0, %1;" : "=f"(result) : "f"(x));
    return result;
}

inline __device__ float magnitude(float x) {
    float result;
    asm("abs.f32 %0, %1;" : "=f"(result) : "f"(x));
    return result;
}

inline __device__ float greater(float x, float y) {
    float result;
    asm("max.f32 %0, %1, %2;" : "=f"(result) : "f"(x), "f"(y));
    return result;
}

inline __device__ float fused(float x, float y, float z) {
    float result;
    asm("fma.rn.f32 %0, %1, %2, %3;" : "=f"(result) : "f"(x), "f"(y), "f"(z));
    return result;
}

inline __device__ float ratio(float x, float y) {
    float result;
    asm("div.rn.f32 %0, %1, %2;" : "=f"(result) : "f"(x), "f"(y));
    return result;
}

inline __device__ float square_root(float x) {
    float result;
    asm("sqrt.rn.f32 %0, %1;" : "=f"(result) : "f"(x));
    return result;
}

inline __device__ double float_to_double(float value) {
    double result;
    asm("cvt.f64.f32 %0, %1;" : "=d"(result) : "f"(value));
    return result;
}

inline __device__ float double_to_float(double value) {
    float result;
    asm("cvt.rn.f32.f64 %0, %1;" : "=f"(result) : "d"(value));
    return result;
}
#endif

template <class To, class From>
struct conversion {
    static __device__ To of(From value) { return static_cast<To>(value); }
};

template <class To>
struct conversion<To, half_t> {
    static __device__ To of(half_t value) { return conversion<To, float>::of(half_to_float(value)); }
};

template <class From>
struct conversion<half_t, From> {
    static __device__ half_t of(From value) { return float_to_half(conversion<float, From>::of(value)); }
};

#ifdef __CUDACC__
template <>
struct conversion<double, float> {
    static __device__ double of(float value) { return float_to_double(value); }
};

template <>
struct conversion<float, double> {
    static __device__ float of(double value) { return double_to_float(value); }
};
#endif

template <class To, class From>
struct conversion<complex_t<To>, complex_t<From>> {
    static __device__ complex_t<To> of(complex_t<From> value) {
        return {conversion<To, From>::of(value.real), conversion<To, From>::of(value.imag)};
    }
};

inline __device__ acc_t to_sum(scalar_t value) { return conversion<acc_t, scalar_t>::of(value); }

inline __device__ scalar_t to_stored(acc_t value) { return conversion<scalar_t, acc_t>::of(value); }

// C++ would promote 8- and 16-bit operands to int, whose overflow is undefined; unsigned ones wrap.
inline __device__ unsigned int promoted(unsigned char value) { return value; }
inline __device__ unsigned int promoted(unsigned short value) { return value; }
template <class Number>
inline __device__ Number promoted(Number value) {
    return value;
}

template <class Number>
inline __device__ Number multiply(Number x, Number y) {
    return static_cast<Number>(promoted(x) * promoted(y));
}

template <class Number>
inline __device__ Number add(Number x, Number y) {
    return static_cast<Number>(promoted(x) + promoted(y));
}

template <class Number>
inline __device__ Number subtract(Number x, Number y) {
    return static_cast<Number>(promoted(x) - promoted(y));
}

template <class Number>
inline __device__ Number negate(Number x) {
    return -x;
}

template <class Number>
inline __device__ Number magnitude(Number x) {
    return fabs(x);
}

// Of a number and NaN, the number.
template <class Number>
inline __device__ Number greater(Number x, Number y) {
    return fmax(x, y);
}

// x * y + z, rounded once.
template <class Number>
inline __device__ Number fused(Number x, Number y, Number z) {
    return fma(x, y, z);
}

template <class Number>
inline __device__ Number ratio(Number x, Number y) {
    return x / y;
}

template <class Number>
inline __device__ Number square_root(Number x) {
    return sqrt(x);
}

template <class Number>
inline __device__ bool equals(Number x, int value) {
    return x == static_cast<Number>(value);
}

template <class Real>
inline __device__ complex_t<Real> multiply(complex_t<Real> x, complex_t<Real> y) {
    return {subtract(multiply(x.real, y.real), multiply(x.imag, y.imag)),
            add(multiply(x.real, y.imag), multiply(x.imag, y.real))};
}

template <class Real>
inline __device__ complex_t<Real> add(complex_t<Real> x, complex_t<Real> y) {
    return {add(x.real, y.real), add(x.imag, y.imag)};
}

template <class Real>
inline __device__ complex_t<Real> subtract(complex_t<Real> x, complex_t<Real> y) {
    return {subtract(x.real, y.real), subtract(x.imag, y.imag)};
}

template <class Real>
inline __device__ bool equals(complex_t<Real> x, int value) {
    return x.real == value && x.imag == 0;
}

// ---- Where a thread stands --------------------------------------------------------------------

inline __device__ index_t thread_in_grid() { return blockIdx.x * index_t(blockDim.x) + threadIdx.x; }

inline __device__ index_t threads_in_grid() { return gridDim.x * index_t(blockDim.x); }

inline __device__ index_t smaller(index_t x, index_t y) { return x < y ? x : y; }

inline __device__ index_t larger(index_t x, index_t y) { return x < y ? y : x; }

// A 64-bit division takes about four times the instructions of a 32-bit one.
inline __device__ index_t divide(index_t x, index_t y) {
    return ((x | y) >> 32) ? x / y : index_t(unsigned(x) / unsigned(y));
}

inline __device__ int divide(int x, int y) { return int(unsigned(x) / unsigned(y)); }

// A position in mixed radix, most significant digit first: advancing it costs additions, no division.
template <class Integer, int DIGITS>
struct counter_t {
    Integer radix[DIGITS];  // the first is never reached
    Integer digit[DIGITS];

    __device__ void set(Integer value) {
#pragma unroll
        for (int i = DIGITS - 1; i > 0; --i) {
            const Integer quotient = divide(value, radix[i]);
            digit[i] = value - quotient * radix[i];
            value = quotient;
        }
        digit[0] = value;
    }

    __device__ void advance(const counter_t& step) {
        Integer carry = 0;
#pragma unroll
        for (int i = DIGITS - 1; i > 0; --i) {
            digit[i] += step.digit[i] + carry;
            carry = digit[i] >= radix[i];
            digit[i] -= carry ? radix[i] : 0;
        }
        digit[0] += step.digit[0] + carry;
    }
};

// ---- 16-byte accesses -------------------------------------------------------------------------

constexpr index_t CHUNK = 16 / sizeof(scalar_t);  // elements in one access

union chunk_t {
    uint4 bits;
    scalar_t values[CHUNK];
};

// Reads of the design matrix go through this type, which a test replaces by one that counts them.
#ifdef VECPROD_INPUT_POINTER
typedef VECPROD_INPUT_POINTER input_pointer;
#else
typedef const scalar_t* input_pointer;
#endif

inline __device__ const scalar_t* reading(const scalar_t* source, index_t) { return source; }

inline __device__ const scalar_t* address_of(const scalar_t* source) { return source; }

inline __device__ bool is_aligned(const void* address) {
    return reinterpret_cast<unsigned long long>(address) % sizeof(uint4) == 0;
}

template <class Pointer>
inline __device__ scalar_t load(Pointer source) {
    return *reading(source, 1);
}

template <class Pointer>
inline __device__ chunk_t load_chunk(Pointer source) {
    chunk_t chunk;
    chunk.bits = *reinterpret_cast<const uint4*>(reading(source, CHUNK));
    return chunk;
}

// Into global memory.  In PTX, because some of these stores came out as four of a word each (NVRTC 13, sm_90).
inline __device__ void store_chunk(scalar_t* destination, chunk_t chunk) {
#ifdef __CUDACC__
    asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(destination)),
                 "r"(chunk.bits.x), "r"(chunk.bits.y), "r"(chunk.bits.z), "r"(chunk.bits.w)
                 : "memory");
#else
    *reinterpret_cast<uint4*>(destination) = chunk.bits;
#endif
}

// The part of [0, total) that 16-byte accesses can serve: `count` chunks from element `first` on.
struct chunks_t {
    index_t first, count;

    // The k-th of the elements that lie before and after the chunks.
    __device__ index_t leftover(index_t k) const { return k < first ? k : k + count * CHUNK; }
};

inline __device__ chunks_t aligned_chunks(const scalar_t* start, index_t total) {
    for (index_t first = 0; first < CHUNK && first < total; ++first)
        if (is_aligned(start + first)) return {first, (total - first) / CHUNK};
    return {total, 0};
}

// ---- Sums in a fixed order --------------------------------------------------------------------

// Adds `lanes` (a power of two) rows of `items` numbers by halves, into the first row.  Every thread
// of the block calls it; the first barrier also waits for whoever wrote the lanes.
template <class Number>
inline __device__ void fold_lanes(Number* values, int lanes, index_t items) {
    for (int half = lanes / 2; half > 0; half /= 2) {
        __syncthreads();
        for (index_t i = threadIdx.x; i < half * items; i += blockDim.x)
            values[i] = add(values[i], values[half * items + i]);
    }
    __syncthreads();
}
