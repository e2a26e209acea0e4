// Convolution with 3x3 filters, stride 1, padding 1, by Winograd's F(4x4, 3x3).
// NumPy twin: npstyle/engine/cpu/winograd.py (winograd_conv2d, winograd_conv2d_backward).
//
//     Y = A^T [ (G g G^T) * (B^T d B) ] A            (* entry by entry)
//
// for tiles d of 6x6 pixels and 4x4 outputs, in three kernels, with T tiles:
//
//     1. winograd_to_tiles      V_k = (B^T d B)_k         (36, T, channels in)
//     2. winograd_product_*     M_k = V_k U_k             (36, T, channels out), U: (36, in, out)
//     3. winograd_from_tiles    Y = A^T M A + b           (height, width, channels out), and a ReLU
//
// U = G g G^T is computed once (`transform_filters`). Step 2 is 36 matrix products of one shape,
// which cuBLAS's strided batched product could replace.
//
// Derivative with respect to the image: read the tile in reverse order, write the outputs in
// reverse order, and multiply by U_k^T. The kernels are winograd_to_tiles_backward (V: channels
// out), winograd_product_flipped_* and winograd_from_tiles with `flipped` = 1. The input is dL/dF
// with the ReLU mask F > 0, given as bytes (`mask`) or as F itself (`activation`); if both are
// null, there is no ReLU. With `pooling` > 1 the input is dL/dY of an average pooling of that size
// and stride; the derivative of the pooling is taken while it is read.
//
// The points are those of the twin: 0, +-a, +-b and infinity with a = 5/8, b = 3/2. Its matrices
// have so many zeros and equal entries that they are written here as sums (see `six_to_six` and
// `six_to_four`); a^2, b^2, a^3, ... are exact in float32.
//
// Layout: images (height, width, channels). Type: float32. Arrays begin at multiples of 16 bytes.
// Launch: `winograd_transform(...)`: one thread per tile and channel, blocks of 128;
// `winograd_product(...)`: grid (tiles of columns, tiles of rows, 36), 256 or (small) 128 threads.
// The steps may run on a few rows of tiles at a time (`first`, `rows`), to bound the memory of V
// and M.

#define A 0.625f
#define B 1.5f
#define A2 (A * A)
#define B2 (B * B)
#define POINTS 36

// B^T d for one column of six. With N_p the polynomial prod_(q != p) (x - q) of the finite points,
// its coefficients are the row of p:  x^4 + p x^3 - r^2 x^2 - p r^2 x, where r is the other of a
// and b; for 0: (x^2 - a^2)(x^2 - b^2); for infinity: x (x^2 - a^2)(x^2 - b^2).
__device__ __forceinline__ void six_to_six(const float* d, int step, float* t) {
    float d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step];
    float d5 = d[5 * step];
    float even_a = d4 - B2 * d2, odd_a = A * (d3 - B2 * d1);
    float even_b = d4 - A2 * d2, odd_b = B * (d3 - A2 * d1);
    t[0] = A2 * B2 * d0 - (A2 + B2) * d2 + d4;
    t[step] = even_a + odd_a;
    t[2 * step] = even_a - odd_a;
    t[3 * step] = even_b + odd_b;
    t[4 * step] = even_b - odd_b;
    t[5 * step] = A2 * B2 * d1 - (A2 + B2) * d3 + d5;
}

// A^T m for one column of six: the row of a point p in A is 1, p, p^2, p^3; infinity's: 0, 0, 0, 1.
__device__ __forceinline__ void six_to_four(const float* m, int step, float* y, int y_step) {
    float sum_a = m[step] + m[2 * step], difference_a = m[step] - m[2 * step];
    float sum_b = m[3 * step] + m[4 * step], difference_b = m[3 * step] - m[4 * step];
    y[0] = m[0] + sum_a + sum_b;
    y[y_step] = A * difference_a + B * difference_b;
    y[2 * y_step] = A2 * sum_a + B2 * sum_b;
    y[3 * y_step] = A2 * A * difference_a + B2 * B * difference_b + m[5 * step];
}

// A thread's tile and channel; tiles are counted from the first row of tiles of the strip.
struct Place {
    int tile, row, column, channel;
    bool inside;
};

__device__ __forceinline__ Place my_place(int tiles, int tile_columns, int channels) {
    long long k = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    Place place;
    place.inside = k < (long long)tiles * channels;
    place.tile = k / channels;
    place.channel = k % channels;
    place.row = place.tile / tile_columns;
    place.column = place.tile % tile_columns;
    return place;
}

__device__ __forceinline__ void store_transformed(float* d, float* transformed, int tiles,
                                                  int channels, const Place& place) {
#pragma unroll
    for (int j = 0; j < 6; ++j) six_to_six(d + j, 6, d + j);
#pragma unroll
    for (int i = 0; i < 6; ++i) six_to_six(d + 6 * i, 1, d + 6 * i);
    long long between = (long long)tiles * channels;
    float* to = transformed + (long long)place.tile * channels + place.channel;
#pragma unroll
    for (int k = 0; k < POINTS; ++k) to[k * between] = d[k];
}

extern "C" __global__ void __launch_bounds__(128)
    winograd_to_tiles(const float* __restrict__ image, float* __restrict__ transformed, int height,
                      int width, int channels, int first, int rows) {
    int tile_columns = (width + 3) / 4;
    Place place = my_place(rows * tile_columns, tile_columns, channels);
    if (!place.inside) return;
    int top = 4 * (first + place.row) - 1, left = 4 * place.column - 1;
    float d[POINTS];
#pragma unroll
    for (int k = 0; k < POINTS; ++k) {
        int y = top + k / 6, x = left + k % 6;
        bool inside = y >= 0 && y < height && x >= 0 && x < width;
        d[k] = inside ? image[((long long)y * width + x) * channels + place.channel] : 0.0f;
    }
    store_transformed(d, transformed, rows * tile_columns, channels, place);
}

extern "C" __global__ void __launch_bounds__(128)
    winograd_to_tiles_backward(const float* __restrict__ upstream,
                               const unsigned char* __restrict__ mask,
                               const float* __restrict__ activation,
                               float* __restrict__ transformed, int height, int width,
                               int channels, int pooling, int first, int rows) {
    int tile_columns = (width + 3) / 4;
    Place place = my_place(rows * tile_columns, tile_columns, channels);
    if (!place.inside) return;
    int top = 4 * (first + place.row) - 1, left = 4 * place.column - 1;
    int pooled_height = height / pooling, pooled_width = width / pooling;
    float factor = 1.0f / float(pooling * pooling);
    float d[POINTS];
#pragma unroll
    for (int k = 0; k < POINTS; ++k) {
        int y = top + k / 6, x = left + k % 6;
        bool passes = y >= 0 && y < height && x >= 0 && x < width;
        if (passes) {
            long long at = ((long long)y * width + x) * channels + place.channel;
            if (mask) passes = mask[at] != 0;
            if (activation) passes = passes && activation[at] > 0.0f;
        }
        // The pooling drops the rows and columns at the end that do not fill a window.
        if (pooling > 1) y /= pooling, x /= pooling;
        passes = passes && y < pooled_height && x < pooled_width;
        float value =
            passes
                ? factor * upstream[((long long)y * pooled_width + x) * channels + place.channel]
                : 0.0f;
        d[POINTS - 1 - k] = value;
    }
    store_transformed(d, transformed, rows * tile_columns, channels, place);
}

extern "C" __global__ void __launch_bounds__(128)
    winograd_from_tiles(const float* __restrict__ products, const float* __restrict__ bias,
                        float* __restrict__ out, int height, int width, int channels, int first,
                        int rows, int flipped, int rectify) {
    int tile_columns = (width + 3) / 4, tiles = rows * tile_columns;
    Place place = my_place(tiles, tile_columns, channels);
    if (!place.inside) return;
    long long between = (long long)tiles * channels;
    const float* from = products + (long long)place.tile * channels + place.channel;
    float m[POINTS], half[24], y[16];
#pragma unroll
    for (int k = 0; k < POINTS; ++k) m[k] = from[k * between];
#pragma unroll
    for (int j = 0; j < 6; ++j) six_to_four(m + j, 6, half + j, 6);
#pragma unroll
    for (int i = 0; i < 4; ++i) six_to_four(half + 6 * i, 1, y + 4 * i, 1);
    float added = bias ? bias[place.channel] : 0.0f;
#pragma unroll
    for (int k = 0; k < 16; ++k) {
        // Backward, the last output is the first pixel.
        int row = flipped ? 3 - k / 4 : k / 4, column = flipped ? 3 - k % 4 : k % 4;
        row += 4 * (first + place.row);
        column += 4 * place.column;
        if (row >= height || column >= width) continue;
        float z = y[k] + added;
        if (rectify && z < 0.0f) z = 0.0f;
        out[((long long)row * width + column) * channels + place.channel] = z;
    }
}

// Step 2: one of 36 products per blockIdx.z. While a step of DEPTH is multiplied from one half of
// shared memory, the next one is loaded into the other half through registers.
template <int ROWS_, int COLUMNS_, int THREAD_ROWS_, int THREAD_COLUMNS_>
struct Tiling {
    static const int ROWS = ROWS_, COLUMNS = COLUMNS_, DEPTH = 8;
    static const int THREAD_ROWS = THREAD_ROWS_, THREAD_COLUMNS = THREAD_COLUMNS_;
    static const int ROW_GROUPS = THREAD_ROWS / 4, COLUMN_GROUPS = THREAD_COLUMNS / 4;
    static const int ACROSS = COLUMNS / THREAD_COLUMNS;
    static const int THREADS = ROWS / THREAD_ROWS * ACROSS;
    // Each thread loads four values of each matrix per step.
    static_assert(ROWS * DEPTH == 4 * THREADS && COLUMNS * DEPTH == 4 * THREADS, "tile's shape");
};

template <typename Tile>
struct Shared {
    alignas(16) float left[2][Tile::DEPTH][Tile::ROWS + 4];
    alignas(16) float right[2][Tile::DEPTH][Tile::COLUMNS + 4];
};

// Loads four neighbours in memory, or as many as are available and zeros; `whole` means that all
// rows begin at a multiple of 16 bytes.
__device__ __forceinline__ float4 load_four(const float* from, int available, bool whole) {
    if (whole && available >= 4) return *reinterpret_cast<const float4*>(from);
    float4 four = make_float4(0, 0, 0, 0);
    if (available > 0) four.x = from[0];
    if (available > 1) four.y = from[1];
    if (available > 2) four.z = from[2];
    if (available > 3) four.w = from[3];
    return four;
}

template <int LENGTH>
__device__ __forceinline__ void store_along(float (*to)[LENGTH], int row, int k, float4 four) {
    to[k][row] = four.x;
    to[k + 1][row] = four.y;
    to[k + 2][row] = four.z;
    to[k + 3][row] = four.w;
}

template <typename Tile, bool FLIPPED>
__device__ __forceinline__ void multiply(Shared<Tile>& shared,
                                         const float* __restrict__ left,
                                         const float* __restrict__ right, float* __restrict__ out,
                                         int rows, int columns, int depth) {
    int first_row = blockIdx.y * Tile::ROWS, first_column = blockIdx.x * Tile::COLUMNS;
    out += (long long)blockIdx.z * rows * columns;

    // This thread loads four values along the depth from row `along` of the left matrix. It loads
    // the same of the right matrix if that is flipped, stored as (columns, depth), and otherwise
    // four values of one row. A row outside the matrix is treated as a row of depth 0.
    int along = threadIdx.x / 2, along_k = threadIdx.x % 2 * 4;
    int across_k = threadIdx.x / (Tile::COLUMNS / 4);
    int across = threadIdx.x % (Tile::COLUMNS / 4) * 4;
    bool whole_depth = depth % 4 == 0, whole_columns = columns % 4 == 0;
    left += ((long long)blockIdx.z * rows + first_row + along) * depth + along_k;
    right += (long long)blockIdx.z * depth * columns;
    right += FLIPPED ? (long long)(first_column + along) * depth + along_k
                    : (long long)across_k * columns + first_column + across;
    int left_depth = first_row + along < rows ? depth - along_k : 0;
    int right_depth = FLIPPED ? (first_column + along < columns ? depth - along_k : 0)
                             : depth - across_k;
    int right_columns = columns - first_column - across;
    float4 next_left, next_right;
    auto load = [&](int k) {
        next_left = load_four(left, left_depth - k, whole_depth);
        left += Tile::DEPTH;
        if (FLIPPED) {
            next_right = load_four(right, right_depth - k, whole_depth);
            right += Tile::DEPTH;
        } else {
            next_right = load_four(right, k < right_depth ? right_columns : 0, whole_columns);
            right += Tile::DEPTH * columns;
        }
    };
    auto store = [&](int half) {
        store_along(shared.left[half], along, along_k, next_left);
        if (FLIPPED)
            store_along(shared.right[half], along, along_k, next_right);
        else
            *reinterpret_cast<float4*>(&shared.right[half][across_k][across]) = next_right;
    };

    // A thread's rows and columns are groups of four, far apart, so that the threads of a warp read
    // neighbouring addresses.
    int my_row = threadIdx.x / Tile::ACROSS * 4, my_column = threadIdx.x % Tile::ACROSS * 4;
    float sums[Tile::THREAD_ROWS][Tile::THREAD_COLUMNS] = {};
    load(0);
    store(0);
    __syncthreads();
    int half = 0;
    for (int first = 0; first < depth; first += Tile::DEPTH, half ^= 1) {
        bool more = first + Tile::DEPTH < depth;
        if (more) load(first + Tile::DEPTH);
#pragma unroll 2  // fully unrolled, it needs more than the 128 registers that two blocks leave
        for (int k = 0; k < Tile::DEPTH; ++k) {
            float4 a[Tile::ROW_GROUPS], b[Tile::COLUMN_GROUPS];
#pragma unroll
            for (int g = 0; g < Tile::ROW_GROUPS; ++g)
                a[g] = *reinterpret_cast<const float4*>(
                    &shared.left[half][k][my_row + g * (Tile::ROWS / Tile::ROW_GROUPS)]);
#pragma unroll
            for (int g = 0; g < Tile::COLUMN_GROUPS; ++g)
                b[g] = *reinterpret_cast<const float4*>(
                    &shared.right[half][k][my_column + g * (Tile::COLUMNS / Tile::COLUMN_GROUPS)]);
#pragma unroll
            for (int r = 0; r < Tile::THREAD_ROWS; ++r) {
                float4 group = a[r / 4];
                float value = r % 4 == 0   ? group.x
                              : r % 4 == 1 ? group.y
                              : r % 4 == 2 ? group.z
                                           : group.w;
#pragma unroll
                for (int g = 0; g < Tile::COLUMN_GROUPS; ++g) {
                    sums[r][4 * g] += value * b[g].x;
                    sums[r][4 * g + 1] += value * b[g].y;
                    sums[r][4 * g + 2] += value * b[g].z;
                    sums[r][4 * g + 3] += value * b[g].w;
                }
            }
        }
        if (more) store(half ^ 1);  // no thread reads that half: all have passed the last barrier
        __syncthreads();
    }

#pragma unroll
    for (int r = 0; r < Tile::THREAD_ROWS; ++r) {
        int row = first_row + my_row + r / 4 * (Tile::ROWS / Tile::ROW_GROUPS) + r % 4;
        if (row >= rows) continue;
#pragma unroll
        for (int g = 0; g < Tile::COLUMN_GROUPS; ++g) {
            int column = first_column + my_column + g * (Tile::COLUMNS / Tile::COLUMN_GROUPS);
            float* to = out + (long long)row * columns + column;
            const float* four = sums[r] + 4 * g;
            if (whole_columns && column < columns)
                *reinterpret_cast<float4*>(to) = make_float4(four[0], four[1], four[2], four[3]);
            else
#pragma unroll
                for (int c = 0; c < 4; ++c)
                    if (column + c < columns) to[c] = four[c];
        }
    }
}

// `rows`: tiles, `columns`: channels of the result, `depth`: channels of the transformed array.
#define PRODUCT(NAME, TILING, FLIPPED)                                                            \
    extern "C" __global__ void __launch_bounds__(TILING::THREADS, 2)                              \
        NAME(const float* __restrict__ transformed, const float* __restrict__ filters,            \
             float* __restrict__ products, int rows, int columns, int depth) {                    \
        __shared__ Shared<TILING> shared;                                                         \
        multiply<TILING, FLIPPED>(shared, transformed, filters, products, rows, columns, depth);  \
    }

typedef Tiling<128, 128, 8, 8> Large;
typedef Tiling<64, 64, 8, 4> Small;  // for layers with few tiles

PRODUCT(winograd_product_large, Large, false)
PRODUCT(winograd_product_small, Small, false)
PRODUCT(winograd_product_flipped_large, Large, true)
PRODUCT(winograd_product_flipped_small, Small, true)
