// 3-vectors as they are stored: read and written, one by one and in groups.

struct vector_t {
    scalar_t x, y, z;
};

inline __device__ vector_t load_vector(const scalar_t* source, index_t stride) {
    return {source[0], source[stride], source[2 * stride]};
}

inline __device__ void store_vector(scalar_t* destination, vector_t vector) {
    destination[0] = vector.x;
    destination[1] = vector.y;
    destination[2] = vector.z;
}

// CHUNK vectors, in three chunks.
union group_t {
    chunk_t chunks[3];
    vector_t vectors[CHUNK];
};

inline __device__ group_t load_group(const scalar_t* source) {
    group_t group;
#pragma unroll
    for (int c = 0; c < 3; ++c) group.chunks[c] = load_chunk(source + c * CHUNK);
    return group;
}
