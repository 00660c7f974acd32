// Lengths and cross products of real 3-vectors, at any scale.
//
// A component of a cross product is a difference of products, in which nearly parallel vectors cancel.  With
// the rounding errors of both products, which a fused multiply-add gives exactly, its relative error is at
// most 2^-23 in floats, 2^-52 in doubles (Cornea, Harrison, Tang; Jeannerod: A radix-independent error
// analysis of the Cornea-Harrison-Tang method, ACM Transactions on Mathematical Software 42, 2016).  Kahan's
// method is as exact with the error of one product, but then b × a is not quite -(a × b).
//
// Before vectors are multiplied, or their length is taken, a power of two brings their largest component
// close to the root of the largest number: nothing overflows on the way to a result that does not, and only
// components below 2^-188 of the largest (2^-1532 in doubles) lose digits.  The exponent is read from the
// bits, since a comparison of numbers would take subnormal ones for zero.  A vector whose largest component is
// middling stays as it is, which saves a tenth of the time: of two such, products below 2^-62 of the largest (2^-929)
// lose digits.

// ---- Numbers ----------------------------------------------------------------------------------

// TARGET is the largest for which the squares of three numbers below 2^(TARGET + 1) add up to a finite one.
template <class Real>
struct format_t;

template <>
struct format_t<float> {
    typedef unsigned int bits_t;
    static constexpr int MANTISSA = 23, BIAS = 127, TARGET = 62;
};

template <>
struct format_t<double> {
    typedef unsigned long long bits_t;
    static constexpr int MANTISSA = 52, BIAS = 1023, TARGET = 510;
};

template <class Real>
union pattern_t {
    Real value;
    typename format_t<Real>::bits_t bits;
};

// 0 of zero and subnormal numbers, 2 * BIAS + 1 of those that are not finite.
template <class Real>
inline __device__ int exponent_field(Real value) {
    pattern_t<Real> pattern;
    pattern.value = value;
    return int(pattern.bits << 1 >> (format_t<Real>::MANTISSA + 1));
}

// For exponents from 1 - BIAS to BIAS.
template <class Real>
inline __device__ Real power_of_two(int exponent) {
    typedef format_t<Real> format;
    pattern_t<Real> pattern;
    pattern.bits = typename format::bits_t(exponent + format::BIAS) << format::MANTISSA;
    return pattern.value;
}

// In two steps, neither of whose factors is subnormal; further than those reach, nothing is left.
template <class Real>
inline __device__ Real times_power_of_two(Real value, int exponent) {
    if (exponent == 0) return value;
    exponent = larger(exponent, 2 - 2 * format_t<Real>::BIAS);
    const int half = exponent / 2;
    return multiply(multiply(value, power_of_two<Real>(half)), power_of_two<Real>(exponent - half));
}

// a * b - c * d
template <class Real>
inline __device__ Real difference_of_products(Real a, Real b, Real c, Real d) {
    const Real left = multiply(a, b), right = multiply(c, d);
    const Real left_error = fused(a, b, negate(left)), right_error = fused(c, d, negate(right));
    return add(subtract(left, right), subtract(left_error, right_error));
}

// ---- Vectors ----------------------------------------------------------------------------------

// A vector in the type that it is computed in.
template <class Number>
struct wide_vector_t {
    Number x, y, z;
};

template <class Number>
inline __device__ wide_vector_t<Number> widened(vector_t vector) {
    typedef conversion<Number, scalar_t> wide;
    return {wide::of(vector.x), wide::of(vector.y), wide::of(vector.z)};
}

template <class Number>
inline __device__ vector_t to_stored(wide_vector_t<Number> vector) {
    typedef conversion<scalar_t, Number> stored;
    return {stored::of(vector.x), stored::of(vector.y), stored::of(vector.z)};
}

template <class Number>
inline __device__ wide_vector_t<Number> add(wide_vector_t<Number> a, wide_vector_t<Number> b) {
    return {add(a.x, b.x), add(a.y, b.y), add(a.z, b.z)};
}

template <class Number>
inline __device__ wide_vector_t<Number> subtract(wide_vector_t<Number> a, wide_vector_t<Number> b) {
    return {subtract(a.x, b.x), subtract(a.y, b.y), subtract(a.z, b.z)};
}

template <class Number>
inline __device__ wide_vector_t<Number> multiply(wide_vector_t<Number> vector, Number factor) {
    return {multiply(vector.x, factor), multiply(vector.y, factor), multiply(vector.z, factor)};
}

template <class Real>
inline __device__ wide_vector_t<Real> cross_product(wide_vector_t<Real> a, wide_vector_t<Real> b) {
    return {difference_of_products(a.y, b.z, a.z, b.y), difference_of_products(a.z, b.x, a.x, b.z),
            difference_of_products(a.x, b.y, a.y, b.x)};
}

// Begins with +0, so that the product with a zero vector is +0 whatever the signs.
template <class Real>
inline __device__ Real dot_product(wide_vector_t<Real> a, wide_vector_t<Real> b) {
    return fused(a.x, b.x, fused(a.y, b.y, fused(a.z, b.z, Real(0))));
}

// ---- Vectors at any scale ---------------------------------------------------------------------

// What it stands for is vector * 2^exponent.
template <class Real>
struct scaled_t {
    wide_vector_t<Real> vector;
    int exponent;

    __device__ Real length() const {
        return times_power_of_two(square_root(dot_product(vector, vector)), exponent);
    }

    __device__ wide_vector_t<Real> unscaled() const {
        return {times_power_of_two(vector.x, exponent), times_power_of_two(vector.y, exponent),
                times_power_of_two(vector.z, exponent)};
    }
};

// That of the largest component.
template <class Real>
inline __device__ int exponent_field(wide_vector_t<Real> vector) {
    return larger(larger(exponent_field(vector.x), exponent_field(vector.y)), exponent_field(vector.z));
}

// Whether its largest component is in [2^-20, 2^30], whose products and squares are far from either end.
template <class Real>
inline __device__ bool is_middling(wide_vector_t<Real> vector) {
    const Real most = greater(greater(magnitude(vector.x), magnitude(vector.y)), magnitude(vector.z));
    return power_of_two<Real>(-20) <= most && most <= power_of_two<Real>(30);
}

// With the largest component in [2^TARGET, 2^(TARGET + 1)), or as close below as one factor brings it, or middling.
template <class Real>
inline __device__ scaled_t<Real> scaled(wide_vector_t<Real> vector, int exponent = 0) {
    if (is_middling(vector)) return {vector, exponent};
    typedef format_t<Real> format;
    const int excess = larger(exponent_field(vector) - format::BIAS - format::TARGET, -format::BIAS);
    return {multiply(vector, power_of_two<Real>(-excess)), exponent + excess};
}

// Where a component is not finite, one of the result is NaN: the error of an infinite product is infinity
// less infinity.
template <class Real>
inline __device__ scaled_t<Real> scaled_cross_product(wide_vector_t<Real> a, wide_vector_t<Real> b, int exponent = 0) {
    const scaled_t<Real> left = scaled(a), right = scaled(b);
    return scaled(cross_product(left.vector, right.vector), exponent + left.exponent + right.exponent);
}

// (q - p) × (r - p)
template <class Real>
inline __device__ scaled_t<Real> normal_of_triangle(wide_vector_t<Real> p, wide_vector_t<Real> q,
                                                    wide_vector_t<Real> r) {
    // Differences of the very largest numbers overflow, those of their halves do not.
    const int field = larger(larger(exponent_field(p), exponent_field(q)), exponent_field(r));
    const int excess = field < 2 * format_t<Real>::BIAS ? 0 : 1;
    const Real factor = power_of_two<Real>(-excess);
    const wide_vector_t<Real> origin = multiply(p, factor);
    return scaled_cross_product(subtract(multiply(q, factor), origin), subtract(multiply(r, factor), origin),
                                2 * excess);
}

// Zeros where the vector is zero.
template <class Real>
inline __device__ wide_vector_t<Real> direction(wide_vector_t<Real> vector) {
    const wide_vector_t<Real> near = scaled(vector).vector;
    const Real length = square_root(dot_product(near, near));
    if (length == 0) return {};
    return multiply(near, ratio(Real(1), length));
}
