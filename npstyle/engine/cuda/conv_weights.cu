// Derivative of a convolution with respect to its kernel, for any kernel size, stride and padding.
// NumPy twin: conv2d_backward_weights in npstyle/maths/conv.py.
//
//     dL/dK[i, j, c, o] = sum_{y,x} X[s y + i - p, s x + j - p, c] g[y, x, o]
//
// where X is 0 outside. This is one matrix product, C^T g, whose left matrix is never stored as a
// whole (implicit GEMM):
//
//     rows     taps times channels of the image   (i, j, c)
//     columns  channels of the upstream           o
//     depth    positions of the upstream          (y, x)
//
// The result is small and the sums are long, so several blocks share a tile of the result: each
// adds up a part of the positions and writes one partial sum per entry. `kernel_totals` adds these
// in a fixed order, in float64.
//
// In each step a block loads DEPTH rows of g and DEPTH rows of C into shared memory; while one step
// is multiplied, the next one is being loaded into registers. Each thread keeps a small tile of
// sums. Neighbouring threads load neighbouring channels.
//
// conv2d_backward_weights_few_* is the same with narrow tiles, for up to 16 filters.
//
// Layout: images (height, width, channels), kernels (kernel height, kernel width, channels in,
// channels out), partial sums (parts, kernel). Types: float32 or float64 (suffix of the name), the
// partial sums too.
// Launch: `conv2d_backward_weights(...)`: grid (tiles of rows, tiles of columns, parts), blocks of
// 256 threads (narrow: 128); then `elementwise("kernel_totals_...", count)` for the kernel's
// `count` values.

// Sizes of the tile of a block (rows x columns), of one step (depth) and of one thread.
template <typename T_, int ROWS_, int COLUMNS_, int DEPTH_, int THREAD_ROWS_, int THREAD_COLUMNS_>
struct Tiling {
    typedef T_ T;
    static const int ROWS = ROWS_, COLUMNS = COLUMNS_, DEPTH = DEPTH_;
    static const int THREAD_ROWS = THREAD_ROWS_, THREAD_COLUMNS = THREAD_COLUMNS_;
    static const int THREADS = (ROWS / THREAD_ROWS) * (COLUMNS / THREAD_COLUMNS);
    // Blocks per multiprocessor. Without this bound ptxas aims for more, and spills registers.
    static const int BLOCKS = (sizeof(T) == 4 ? 768 : 512) / THREADS;
    static const int LEFT_LOADS = ROWS * DEPTH / THREADS;
    static const int RIGHT_LOADS = COLUMNS * DEPTH / THREADS;
    // A thread loads values of one row, or one column, of a step.
    static_assert(THREADS % ROWS == 0 && THREADS % COLUMNS == 0, "whole positions at a time");
};

template <typename Tile>
struct Shared {
    alignas(16) typename Tile::T left[Tile::DEPTH][Tile::ROWS];
    alignas(16) typename Tile::T right[Tile::DEPTH][Tile::COLUMNS];
    int y[Tile::DEPTH], x[Tile::DEPTH];  // where the window of each position of a step begins
};

struct Shape {
    int height, width, channels, filters, kernel_height, kernel_width, stride, padding;
    int out_height, out_width;
};

// A coordinate outside every image.
#define NOWHERE (-(1 << 29))

template <typename Tile>
__device__ __forceinline__ void find_windows(Shared<Tile>& shared, const Shape& shape, int first,
                                             int end) {
    if (threadIdx.x >= Tile::DEPTH) return;
    int position = first + threadIdx.x;
    bool inside = position < end;
    int y = position / shape.out_width, x = position % shape.out_width;
    shared.y[threadIdx.x] = inside ? y * shape.stride - shape.padding : NOWHERE;
    shared.x[threadIdx.x] = inside ? x * shape.stride - shape.padding : NOWHERE;
}

template <typename Tile>
__device__ __forceinline__ void load_left(typename Tile::T* values, const Shared<Tile>& shared,
                                          const typename Tile::T* image, const Shape& shape) {
    int row = blockIdx.x * Tile::ROWS + threadIdx.x % Tile::ROWS;
    int tap = row / shape.channels, channel = row % shape.channels;
    int i = tap / shape.kernel_width, j = tap % shape.kernel_width;
    bool inside = i < shape.kernel_height;
#pragma unroll
    for (int load = 0; load < Tile::LEFT_LOADS; ++load) {
        int k = threadIdx.x / Tile::ROWS + load * (Tile::THREADS / Tile::ROWS);
        int y = shared.y[k] + i, x = shared.x[k] + j;
        bool read = inside && y >= 0 && x >= 0 && y < shape.height && x < shape.width;
        long long at = ((long long)y * shape.width + x) * shape.channels + channel;
        values[load] = read ? image[at] : 0;
    }
}

template <typename Tile>
__device__ __forceinline__ void load_right(typename Tile::T* values,
                                           const typename Tile::T* upstream, int filters,
                                           int first, int end) {
    int column = blockIdx.y * Tile::COLUMNS + threadIdx.x % Tile::COLUMNS;
#pragma unroll
    for (int load = 0; load < Tile::RIGHT_LOADS; ++load) {
        int position =
            first + threadIdx.x / Tile::COLUMNS + load * (Tile::THREADS / Tile::COLUMNS);
        bool read = position < end && column < filters;
        values[load] = read ? upstream[(long long)position * filters + column] : 0;
    }
}

template <typename Tile>
__device__ __forceinline__ void store_step(Shared<Tile>& shared, const typename Tile::T* left,
                                           const typename Tile::T* right) {
#pragma unroll
    for (int load = 0; load < Tile::LEFT_LOADS; ++load)
        shared.left[threadIdx.x / Tile::ROWS + load * (Tile::THREADS / Tile::ROWS)]
                   [threadIdx.x % Tile::ROWS] = left[load];
#pragma unroll
    for (int load = 0; load < Tile::RIGHT_LOADS; ++load)
        shared.right[threadIdx.x / Tile::COLUMNS + load * (Tile::THREADS / Tile::COLUMNS)]
                    [threadIdx.x % Tile::COLUMNS] = right[load];
}

template <typename Tile>
__device__ __forceinline__ void multiply_step(
    const Shared<Tile>& shared, int my_row, int my_column,
    typename Tile::T (&sums)[Tile::THREAD_ROWS][Tile::THREAD_COLUMNS]) {
#pragma unroll
    for (int k = 0; k < Tile::DEPTH; ++k) {
        typename Tile::T a[Tile::THREAD_ROWS], b[Tile::THREAD_COLUMNS];
#pragma unroll
        for (int r = 0; r < Tile::THREAD_ROWS; ++r) a[r] = shared.left[k][my_row + r];
#pragma unroll
        for (int c = 0; c < Tile::THREAD_COLUMNS; ++c) b[c] = shared.right[k][my_column + c];
#pragma unroll
        for (int r = 0; r < Tile::THREAD_ROWS; ++r)
#pragma unroll
            for (int c = 0; c < Tile::THREAD_COLUMNS; ++c) sums[r][c] += a[r] * b[c];
    }
}

template <typename Tile>
__device__ __forceinline__ void add_positions(Shared<Tile>& shared,
                                              const typename Tile::T* upstream,
                                              const typename Tile::T* image,
                                              typename Tile::T* partial, const Shape& shape) {
    typedef typename Tile::T T;
    int positions = shape.out_height * shape.out_width;
    int each = (positions + gridDim.z - 1) / gridDim.z, first = blockIdx.z * each;
    int end = first + each < positions ? first + each : positions;

    int columns_of_threads = Tile::COLUMNS / Tile::THREAD_COLUMNS;
    int my_row = threadIdx.x / columns_of_threads * Tile::THREAD_ROWS;
    int my_column = threadIdx.x % columns_of_threads * Tile::THREAD_COLUMNS;
    T sums[Tile::THREAD_ROWS][Tile::THREAD_COLUMNS] = {};
    T left[Tile::LEFT_LOADS], right[Tile::RIGHT_LOADS];
    find_windows<Tile>(shared, shape, first, end);
    __syncthreads();
    // In round r, step r is loaded while step r - 1 is multiplied.
    int steps = (end - first + Tile::DEPTH - 1) / Tile::DEPTH;
    for (int round = 0; round <= steps; ++round) {
        int begin = first + round * Tile::DEPTH;
        if (round < steps) {
            load_left<Tile>(left, shared, image, shape);
            load_right<Tile>(right, upstream, shape.filters, begin, end);
        }
        if (round > 0) multiply_step<Tile>(shared, my_row, my_column, sums);
        __syncthreads();
        if (round < steps) {
            store_step<Tile>(shared, left, right);
            find_windows<Tile>(shared, shape, begin + Tile::DEPTH, end);
        }
        __syncthreads();
    }

    int rows = shape.kernel_height * shape.kernel_width * shape.channels;
    partial += (long long)blockIdx.z * rows * shape.filters;
#pragma unroll
    for (int r = 0; r < Tile::THREAD_ROWS; ++r) {
        int row = blockIdx.x * Tile::ROWS + my_row + r;
        if (row >= rows) continue;
#pragma unroll
        for (int c = 0; c < Tile::THREAD_COLUMNS; ++c) {
            int column = blockIdx.y * Tile::COLUMNS + my_column + c;
            if (column < shape.filters)
                partial[(long long)row * shape.filters + column] = sums[r][c];
        }
    }
}

#define KERNEL(T, NAME, TILING)                                                                   \
    extern "C" __global__ void __launch_bounds__(TILING<T>::THREADS, TILING<T>::BLOCKS) NAME(     \
        const T* __restrict__ upstream, const T* __restrict__ image, T* __restrict__ partial,     \
        int height, int width, int channels, int filters, int kernel_height, int kernel_width,    \
        int stride, int padding, int out_height, int out_width) {                                 \
        __shared__ Shared<TILING<T>> shared;                                                      \
        add_positions<TILING<T>>(shared, upstream, image, partial,                                \
                                 {height, width, channels, filters, kernel_height, kernel_width,  \
                                  stride, padding, out_height, out_width});                       \
    }

// result[k] = sum of the partial sums of entry k.
#define TOTALS(T, NAME)                                                                           \
    extern "C" __global__ void NAME(const T* __restrict__ partial, T* __restrict__ result,        \
                                    int parts, long long count) {                                 \
        long long k = (long long)blockIdx.x * blockDim.x + threadIdx.x;                           \
        if (k >= count) return;                                                                   \
        double sum = 0;                                                                           \
        for (int part = 0; part < parts; ++part) sum += double(partial[part * count + k]);        \
        result[k] = T(sum);                                                                       \
    }

template <typename T>
using Wide = Tiling<T, 64, 64, 16, 4, 4>;
template <typename T>
using Narrow = Tiling<T, 128, 16, 16, 4, 4>;

KERNEL(float, conv2d_backward_weights_float32, Wide)
KERNEL(double, conv2d_backward_weights_float64, Wide)
KERNEL(float, conv2d_backward_weights_few_float32, Narrow)
KERNEL(double, conv2d_backward_weights_few_float64, Narrow)
TOTALS(float, kernel_totals_float32)
TOTALS(double, kernel_totals_float64)
