// Angles, areas and volumes that two or three 3-vectors make.
//
//     vector_angle        atan2(|a × b|, a · b)
//     parallelogram_area  |a × b|
//     triangle_area       |(b - a) × (c - a)| / 2, of three points
//     triple_product      a · (b × c)
//
// a, b and c (outer, inner, 3) with any strides (0 repeats); out (outer, inner) contiguous.  The first two
// never read c.
//
// All is computed in acc_t and rounded to the stored type once: the first three as geometry.cuh says, in the
// last every product and every sum by itself, as NumPy does; integers wrap.
//
// Bytes moved: each operand and out once.
//
// One thread takes one triple.  Where operands lie end to end from a 16-byte boundary on, it takes as many
// as a chunk has elements: three chunks of each operand, and one of out (cross.cu says why).
//
// Ideas tried, on an H100; microseconds for 20,000,000 angles | triangle areas, which move in 193 and 276:
//   every vector scaled (geometry.cuh)                      224 | 288
//   those of middling size as they are                      204 | 278
//   ... the vectors of a group one after another            413 | 560
//   ... a vector a thread, by single numbers                214 | 280
//   ... no exception for ratios that atan2 flushes to zero  198

// ---- The quantities ---------------------------------------------------------------------------

struct vector_angle_t {
    static constexpr bool READS_C = false, TAKES_INTEGERS = false;

    template <class Real>
    static __device__ Real of(wide_vector_t<Real> a, wide_vector_t<Real> b, wide_vector_t<Real>) {
        const wide_vector_t<Real> left = scaled(a).vector, right = scaled(b).vector;
        const Real sine = scaled(cross_product(left, right)).length(), cosine = dot_product(left, right);
        // Here atan(x) is x to the last place, and atan2 of floats could flush it to zero.
        if (sine < multiply(cosine, power_of_two<Real>(-28))) return ratio(sine, cosine);
        return atan2(sine, cosine);
    }
};

struct parallelogram_area_t {
    static constexpr bool READS_C = false, TAKES_INTEGERS = false;

    template <class Real>
    static __device__ Real of(wide_vector_t<Real> a, wide_vector_t<Real> b, wide_vector_t<Real>) {
        return scaled_cross_product(a, b).length();
    }
};

struct triangle_area_t {
    static constexpr bool READS_C = true, TAKES_INTEGERS = false;

    template <class Real>
    static __device__ Real of(wide_vector_t<Real> a, wide_vector_t<Real> b, wide_vector_t<Real> c) {
        scaled_t<Real> normal = normal_of_triangle(a, b, c);
        normal.exponent -= 1;  // half of it
        return normal.length();
    }
};

struct triple_product_t {
    static constexpr bool READS_C = true, TAKES_INTEGERS = true;

    template <class Number>
    static __device__ Number of(wide_vector_t<Number> a, wide_vector_t<Number> b, wide_vector_t<Number> c) {
        const Number x = subtract(multiply(b.y, c.z), multiply(b.z, c.y));
        const Number y = subtract(multiply(b.z, c.x), multiply(b.x, c.z));
        const Number z = subtract(multiply(b.x, c.y), multiply(b.y, c.x));
        return add(add(multiply(a.x, x), multiply(a.y, y)), multiply(a.z, z));
    }
};

constexpr bool IS_INTEGER = acc_t(1) / acc_t(2) == acc_t(0);

template <class Quantity>
inline __device__ scalar_t measured(vector_t a, vector_t b, vector_t c) {
    return to_stored(Quantity::of(widened<acc_t>(a), widened<acc_t>(b), widened<acc_t>(c)));
}

// ---- Reading and writing ----------------------------------------------------------------------

struct operand_t {
    const scalar_t* start;
    index_t outer_stride, inner_stride, component_stride;

    __device__ vector_t at(index_t outer, index_t inner) const {
        return load_vector(start + outer * outer_stride + inner * inner_stride, component_stride);
    }

    // Whether its vectors lie end to end from a 16-byte boundary on.
    __device__ bool has_groups(index_t outer_count, index_t inner_count) const {
        return component_stride == 1 && inner_stride == 3 && is_aligned(start) &&
               (outer_count == 1 || outer_stride == 3 * inner_count);
    }
};

template <class Quantity>
inline __device__ chunk_t measure_group(operand_t a, operand_t b, operand_t c, index_t group) {
    const index_t start = 3 * group * CHUNK;
    const group_t left = load_group(a.start + start), right = load_group(b.start + start);
    group_t third = {};
    if constexpr (Quantity::READS_C) third = load_group(c.start + start);
    chunk_t result;
#pragma unroll
    for (int v = 0; v < CHUNK; ++v)
        result.values[v] = measured<Quantity>(left.vectors[v], right.vectors[v], third.vectors[v]);
    return result;
}

template <class Quantity>
inline __device__ scalar_t measure_one(operand_t a, operand_t b, operand_t c, index_t outer, index_t inner) {
    vector_t third = {};
    if constexpr (Quantity::READS_C) third = c.at(outer, inner);
    return measured<Quantity>(a.at(outer, inner), b.at(outer, inner), third);
}

template <class Quantity>
inline __device__ void measure(operand_t a, operand_t b, operand_t c, scalar_t* out, index_t outer_count,
                               index_t inner_count) {
    if constexpr (Quantity::TAKES_INTEGERS || !IS_INTEGER) {
        const index_t count = outer_count * inner_count;
        const bool has_groups = a.has_groups(outer_count, inner_count) && b.has_groups(outer_count, inner_count) &&
                                (!Quantity::READS_C || c.has_groups(outer_count, inner_count)) && is_aligned(out);
        const index_t groups = has_groups ? count / CHUNK : 0;
        for (index_t group = thread_in_grid(); group < groups; group += threads_in_grid())
            store_chunk(out + group * CHUNK, measure_group<Quantity>(a, b, c, group));
        for (index_t i = groups * CHUNK + thread_in_grid(); i < count; i += threads_in_grid()) {
            const index_t outer = divide(i, inner_count);
            out[i] = measure_one<Quantity>(a, b, c, outer, i - outer * inner_count);
        }
    }
}

// ---- The kernels ------------------------------------------------------------------------------

extern "C" __global__ void vector_angle(const scalar_t* a, const scalar_t* b, const scalar_t* c, scalar_t* out,
                                        index_t outer_count, index_t inner_count, index_t a_outer_stride,
                                        index_t a_inner_stride, index_t a_component_stride, index_t b_outer_stride,
                                        index_t b_inner_stride, index_t b_component_stride, index_t c_outer_stride,
                                        index_t c_inner_stride, index_t c_component_stride) {
    measure<vector_angle_t>({a, a_outer_stride, a_inner_stride, a_component_stride},
                            {b, b_outer_stride, b_inner_stride, b_component_stride},
                            {c, c_outer_stride, c_inner_stride, c_component_stride}, out, outer_count, inner_count);
}

extern "C" __global__ void parallelogram_area(const scalar_t* a, const scalar_t* b, const scalar_t* c, scalar_t* out,
                                              index_t outer_count, index_t inner_count, index_t a_outer_stride,
                                              index_t a_inner_stride, index_t a_component_stride,
                                              index_t b_outer_stride, index_t b_inner_stride,
                                              index_t b_component_stride, index_t c_outer_stride,
                                              index_t c_inner_stride, index_t c_component_stride) {
    measure<parallelogram_area_t>({a, a_outer_stride, a_inner_stride, a_component_stride},
                                  {b, b_outer_stride, b_inner_stride, b_component_stride},
                                  {c, c_outer_stride, c_inner_stride, c_component_stride},
                                  out, outer_count, inner_count);
}

extern "C" __global__ void triangle_area(const scalar_t* a, const scalar_t* b, const scalar_t* c, scalar_t* out,
                                         index_t outer_count, index_t inner_count, index_t a_outer_stride,
                                         index_t a_inner_stride, index_t a_component_stride, index_t b_outer_stride,
                                         index_t b_inner_stride, index_t b_component_stride, index_t c_outer_stride,
                                         index_t c_inner_stride, index_t c_component_stride) {
    measure<triangle_area_t>({a, a_outer_stride, a_inner_stride, a_component_stride},
                             {b, b_outer_stride, b_inner_stride, b_component_stride},
                             {c, c_outer_stride, c_inner_stride, c_component_stride}, out, outer_count, inner_count);
}

extern "C" __global__ void triple_product(const scalar_t* a, const scalar_t* b, const scalar_t* c, scalar_t* out,
                                          index_t outer_count, index_t inner_count, index_t a_outer_stride,
                                          index_t a_inner_stride, index_t a_component_stride, index_t b_outer_stride,
                                          index_t b_inner_stride, index_t b_component_stride, index_t c_outer_stride,
                                          index_t c_inner_stride, index_t c_component_stride) {
    measure<triple_product_t>({a, a_outer_stride, a_inner_stride, a_component_stride},
                              {b, b_outer_stride, b_inner_stride, b_component_stride},
                              {c, c_outer_stride, c_inner_stride, c_component_stride}, out, outer_count, inner_count);
}
