// Normals of triangle meshes and of height fields.
//
//     face_normals     (q - p) × (r - p) of the corners p, q, r of a face; of length 1 where is_unit
//     vertex_normals   the sum of those, not of length 1, over the corners that lie at a vertex, in the order
//                      of faces; then of length 1
//     grid_normals     (-dz/dx, -dz/dy, 1) by central differences, one-sided at the edges; of length 1
//
// What is zero stays zero.  vertices (batch, vertices, 3) and z (batch, rows, columns) with any strides;
// faces (faces, 3), 64-bit where is_wide, else 32-bit; order (3 * faces) sorts them; dx (rows).  out
// (batch, faces, 3), (batch, vertices, 3) or (batch, rows, columns, 3) contiguous.
//
// A face with an index out of range is never followed: first_bad receives the smallest number of one.
//
// Normals of faces and of height fields are computed in acc_t as geometry.cuh says.  What is summed around a
// vertex, and the sum, are doubles as they come: they overflow or underflow where the vertices are doubles
// whose squares do.
//
// Bytes moved: faces and out once; each vertex about six times, out of the cache where faces have been
// numbered along the surface; z once, and four more times out of the cache.  vertex_normals reads faces
// through order, and a few elements of both for the search.
//
// Ideas tried, on an H100; microseconds of the kernel for 20,000,000 faces: all vectors scaled 302, those of middling
// size as they are 290, no division by the number of faces in the first problem 281; blocks of 64 to 512 threads within
// 5.  A call takes 488: it tells the host whether an index is out of range.
//
// To try on a GPU: where each vertex's corners begin, from one pass, in place of the search; a face
// normal's three stores as one through shared memory; two rows of z a thread.

// ---- Meshes -----------------------------------------------------------------------------------

struct mesh_t {
    const scalar_t* vertices;
    const void* faces;
    index_t vertex_count, face_count, batch_stride, vertex_stride, component_stride;
    bool is_wide;

    // The vertex at one of the 3 * face_count corners.
    __device__ index_t vertex(index_t corner) const {
        return is_wide ? static_cast<const index_t*>(faces)[corner] : static_cast<const int*>(faces)[corner];
    }

    __device__ bool has_vertex(index_t vertex) const { return 0 <= vertex && vertex < vertex_count; }

    __device__ bool has_face(index_t face) const {
        return has_vertex(vertex(3 * face)) && has_vertex(vertex(3 * face + 1)) && has_vertex(vertex(3 * face + 2));
    }

    template <class Real>
    __device__ wide_vector_t<Real> point(index_t problem, index_t corner) const {
        const index_t place = problem * batch_stride + vertex(corner) * vertex_stride;
        return widened<Real>(load_vector(vertices + place, component_stride));
    }
};

inline __device__ wide_vector_t<acc_t> face_normal(const mesh_t& mesh, index_t problem, index_t face, bool is_unit) {
    const index_t corner = 3 * face;
    const scaled_t<acc_t> normal =
        normal_of_triangle(mesh.point<acc_t>(problem, corner), mesh.point<acc_t>(problem, corner + 1),
                           mesh.point<acc_t>(problem, corner + 2));
    return is_unit ? direction(normal.vector) : normal.unscaled();
}

extern "C" __global__ void face_normals(const scalar_t* vertices, const void* faces, scalar_t* out, index_t* first_bad,
                                        index_t batch, index_t vertex_count, index_t face_count,
                                        index_t vertex_batch_stride, index_t vertex_stride,
                                        index_t vertex_component_stride, index_t is_wide, index_t is_unit) {
    const mesh_t mesh = {vertices, faces, vertex_count, face_count, vertex_batch_stride, vertex_stride,
                         vertex_component_stride, is_wide != 0};
    // The faces of an empty batch are checked too.
    for (index_t i = thread_in_grid(); i < larger(batch, 1) * face_count; i += threads_in_grid()) {
        const index_t problem = i < face_count ? 0 : divide(i, face_count), face = i - problem * face_count;
        if (!mesh.has_face(face))
            atomicMin(first_bad, face);
        else if (problem < batch)
            store_vector(out + 3 * i, to_stored(face_normal(mesh, problem, face, is_unit != 0)));
    }
}

// ---- Around a vertex --------------------------------------------------------------------------

// The first place in `order` whose corner lies at `vertex` or at a later one.
inline __device__ index_t first_corner(const mesh_t& mesh, const index_t* order, index_t vertex) {
    index_t first = 0, end = 3 * mesh.face_count;
    while (first < end) {
        const index_t middle = first + (end - first) / 2;
        if (mesh.vertex(order[middle]) < vertex)
            first = middle + 1;
        else
            end = middle;
    }
    return first;
}

inline __device__ wide_vector_t<double> sum_around(const mesh_t& mesh, const index_t* order, index_t problem,
                                                   index_t vertex) {
    wide_vector_t<double> sum = {};
    for (index_t place = first_corner(mesh, order, vertex); place < 3 * mesh.face_count; ++place) {
        const index_t corner = order[place];
        if (mesh.vertex(corner) != vertex) break;
        const index_t face = corner / 3;
        if (!mesh.has_face(face)) continue;
        const wide_vector_t<double> origin = mesh.point<double>(problem, 3 * face);
        sum = add(sum, cross_product(subtract(mesh.point<double>(problem, 3 * face + 1), origin),
                                     subtract(mesh.point<double>(problem, 3 * face + 2), origin)));
    }
    return sum;
}

extern "C" __global__ void vertex_normals(const scalar_t* vertices, const void* faces, const index_t* order,
                                          scalar_t* out, index_t* first_bad, index_t batch, index_t vertex_count,
                                          index_t face_count, index_t vertex_batch_stride, index_t vertex_stride,
                                          index_t vertex_component_stride, index_t is_wide) {
    const mesh_t mesh = {vertices, faces, vertex_count, face_count, vertex_batch_stride, vertex_stride,
                         vertex_component_stride, is_wide != 0};
    for (index_t face = thread_in_grid(); face < face_count; face += threads_in_grid())
        if (!mesh.has_face(face)) atomicMin(first_bad, face);
    for (index_t i = thread_in_grid(); i < batch * vertex_count; i += threads_in_grid()) {
        const index_t problem = divide(i, vertex_count), vertex = i - problem * vertex_count;
        store_vector(out + 3 * i, to_stored(direction(sum_around(mesh, order, problem, vertex))));
    }
}

// ---- Height fields ----------------------------------------------------------------------------

struct heights_t {
    const scalar_t* z;
    index_t rows, columns, batch_stride, row_stride, column_stride;

    __device__ acc_t at(index_t problem, index_t row, index_t column) const {
        return to_sum(z[problem * batch_stride + row * row_stride + column * column_stride]);
    }
};

// The neighbours of a place along an axis, itself where there is none.
struct neighbours_t {
    index_t before, after;

    // How much the heights there fall, for each unit of length.
    __device__ acc_t fall(acc_t height_before, acc_t height_after, acc_t step) const {
        return ratio(subtract(height_before, height_after), after - before == 2 ? add(step, step) : step);
    }
};

inline __device__ neighbours_t neighbours(index_t place, index_t length) {
    return {larger(place - 1, 0), smaller(place + 1, length - 1)};
}

extern "C" __global__ void grid_normals(const scalar_t* z, const acc_t* dx, scalar_t* out, index_t batch, index_t rows,
                                        index_t columns, index_t z_batch_stride, index_t z_row_stride,
                                        index_t z_column_stride, double dy) {
    const heights_t heights = {z, rows, columns, z_batch_stride, z_row_stride, z_column_stride};
    const acc_t step = conversion<acc_t, double>::of(dy);
    for (index_t i = thread_in_grid(); i < batch * rows * columns; i += threads_in_grid()) {
        const index_t line = divide(i, columns), column = i - line * columns;
        const index_t problem = divide(line, rows), row = line - problem * rows;
        const neighbours_t across = neighbours(column, columns), along = neighbours(row, rows);
        const acc_t left = heights.at(problem, row, across.before), right = heights.at(problem, row, across.after);
        const acc_t above = heights.at(problem, along.before, column);
        const acc_t below = heights.at(problem, along.after, column);
        const wide_vector_t<acc_t> normal = {across.fall(left, right, dx[row]), along.fall(above, below, step), 1};
        store_vector(out + 3 * i, to_stored(direction(normal)));
    }
}
