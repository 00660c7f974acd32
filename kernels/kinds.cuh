// Kinds of numbers, each with a widest type, in which long sums are kept, and with weights; and arithmetic
// that is written alike for real numbers, complex ones and integers.

// The widest type of a kind of numbers, and that of their weights.
template <class Number>
struct kind_t {
    typedef Number wide_t, real_t;
};

template <>
struct kind_t<float> {
    typedef double wide_t;
    typedef float real_t;
};

template <class Real>
struct kind_t<complex_t<Real>> {
    typedef complex_t<double> wide_t;
    typedef Real real_t;
};

typedef kind_t<acc_t>::wide_t wide_t;
typedef kind_t<acc_t>::real_t real_t;

constexpr bool IS_INTEGER = real_t(0.5) == real_t(0);  // then nothing is ever centred

template <>
struct conversion<complex_t<double>, double> {
    static __device__ complex_t<double> of(double value) { return {value, 0}; }
};

inline __device__ wide_t widened(acc_t value) { return conversion<wide_t, acc_t>::of(value); }

inline __device__ acc_t narrowed(wide_t value) { return conversion<acc_t, wide_t>::of(value); }

template <class Number>
inline __device__ Number real_part(Number x) {
    return x;
}

template <class Real>
inline __device__ Real real_part(complex_t<Real> x) {
    return x.real;
}

template <class Number>
inline __device__ Number conjugate(Number x) {
    return x;
}

template <class Real>
inline __device__ complex_t<Real> conjugate(complex_t<Real> x) {
    return {x.real, negate(x.imag)};
}

template <class Factor, class Number>
inline __device__ Number scaled(Factor factor, Number x) {
    return multiply(Number(factor), x);
}

template <class Factor, class Real>
inline __device__ complex_t<Real> scaled(Factor factor, complex_t<Real> x) {
    return {multiply(Real(factor), x.real), multiply(Real(factor), x.imag)};
}

template <class Number>
inline __device__ Number divided(Number x, double divisor) {
    return Number(x / divisor);
}

template <class Real>
inline __device__ complex_t<Real> divided(complex_t<Real> x, double divisor) {
    return {divided(x.real, divisor), divided(x.imag, divisor)};
}

// sum + x * conj(y)
template <class Number>
inline __device__ Number add_product(Number sum, Number x, Number y) {
    return add(sum, multiply(x, y));
}

inline __device__ float add_product(float sum, float x, float y) { return fused(x, y, sum); }

inline __device__ double add_product(double sum, double x, double y) { return fused(x, y, sum); }

template <class Real>
inline __device__ complex_t<Real> add_product(complex_t<Real> sum, complex_t<Real> x, complex_t<Real> y) {
    return {fused(x.imag, y.imag, fused(x.real, y.real, sum.real)),
            fused(negate(x.real), y.imag, fused(x.imag, y.real, sum.imag))};
}

template <class Number>
inline __device__ Number without_imaginary(Number x) {
    return x;
}

inline __device__ complex_t<double> without_imaginary(complex_t<double> x) { return {x.real, 0}; }

// NaN stays NaN.
template <class Number>
inline __device__ Number clipped(Number x) {
    return x > 1 ? Number(1) : x < -1 ? Number(-1) : x;
}

inline __device__ complex_t<double> clipped(complex_t<double> x) { return {clipped(x.real), clipped(x.imag)}; }

template <class Number>
inline __device__ Number from_across(Number value, int across) {
    return Number(__shfl_xor_sync(0xffffffff, value, across));
}

inline __device__ complex_t<double> from_across(complex_t<double> value, int across) {
    return {from_across(value.real, across), from_across(value.imag, across)};
}

// What `lanes` neighbouring threads, a power of two, come to together.
template <class Number>
inline __device__ Number add_neighbours(Number sum, int lanes) {
    for (int across = lanes / 2; across > 0; across /= 2) sum = add(sum, from_across(sum, across));
    return sum;
}
