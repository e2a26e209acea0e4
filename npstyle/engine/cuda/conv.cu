// Convolution of any kernel size, stride and padding. NumPy twin: npstyle/maths/conv.py.
//
//     conv2d:           Z[y, x, o] = b[o] + sum_{i,j,c} X[s y + i - p, s x + j - p, c] K[i,j,c,o]
//     conv2d_backward:  dL/dX[u, v, c] = sum_{i,j,o} g[(u + p - i)/s, (v + p - j)/s, o] K[i,j,c,o]
//                       over whole quotients only
//
// where X and g are 0 outside. If a ReLU follows the convolution, the forward kernel can rectify
// what it writes, and the backward kernel reads g = dL/dF where F > 0, else 0. The ReLU mask F > 0
// is given as bytes (`mask`) or as F itself (`activation`); if both are null, there is no ReLU.
//
// Both are one matrix product, `rows` x `depth` times `depth` x `columns`, whose left matrix is
// never stored as a whole (implicit GEMM):
//
//     rows     positions of the output            forward (y, x)        backward (u, v)
//     columns  channels of the output             o                     c
//     depth    taps times channels of the input   (i, j, c)             (i, j, o)
//
// A block computes a tile of the product. In each step it loads DEPTH columns of the left and DEPTH
// rows of the right matrix into shared memory; while one step is multiplied, the next one is being
// loaded into registers. Each thread keeps a small tile of sums. With stride s, the backward kernel
// does s^2 times the necessary multiplications, because the taps without a whole quotient are 0;
// networks for style transfer have s = 1.
//
// conv2d_backward_few_* is conv2d_backward with narrow tiles, for up to 4 channels (the image).
//
// Layout: images (height, width, channels), kernels (kernel height, kernel width, channels in,
// channels out). Types: float32 or float64 (suffix of the name), sums in the same type.
// Launch: `conv2d(...)`, `conv2d_backward(...)`: grid (tiles of rows, tiles of columns), blocks of
// 256 threads (narrow: 64).

// Sizes of the tile of a block (rows x columns), of one step (depth) and of one thread. Rows in
// shared memory are padded by PAD values, so that the values of one column of the left matrix are
// in different banks.
template <typename T_, int ROWS_, int COLUMNS_, int DEPTH_, int THREAD_ROWS_, int THREAD_COLUMNS_>
struct Tiling {
    typedef T_ T;
    static const int ROWS = ROWS_, COLUMNS = COLUMNS_, DEPTH = DEPTH_;
    static const int THREAD_ROWS = THREAD_ROWS_, THREAD_COLUMNS = THREAD_COLUMNS_;
    static const int THREADS = (ROWS / THREAD_ROWS) * (COLUMNS / THREAD_COLUMNS);
    static const int PAD = 4;
    // Blocks per multiprocessor. Without this bound ptxas aims for more, and spills registers.
    static const int BLOCKS = (sizeof(T) == 4 ? 768 : 512) / THREADS;
    static const int LEFT_LOADS = ROWS * DEPTH / THREADS;
    static const int RIGHT_LOADS = (COLUMNS * DEPTH + THREADS - 1) / THREADS;
};

template <typename Tile>
struct Shared {
    alignas(16) typename Tile::T left[Tile::DEPTH][Tile::ROWS + Tile::PAD];
    alignas(16) typename Tile::T right[Tile::DEPTH][Tile::COLUMNS + Tile::PAD];
    int y[Tile::ROWS], x[Tile::ROWS];  // where the window of each position of the tile begins
};

struct Shape {
    int height, width, channels, filters, kernel_height, kernel_width, stride, padding;
    int out_height, out_width;
};

// A coordinate outside every image.
#define NOWHERE (-(1 << 29))

template <typename T, bool BACKWARD>
struct Operands {
    const T* source;
    const T* kernel;
    const unsigned char* mask;
    const T* activation;
    Shape shape;

    __device__ __forceinline__ int rows() const {
        return BACKWARD ? shape.height * shape.width : shape.out_height * shape.out_width;
    }
    __device__ __forceinline__ int columns() const {
        return BACKWARD ? shape.channels : shape.filters;
    }
    __device__ __forceinline__ int inner() const {
        return BACKWARD ? shape.filters : shape.channels;
    }
    __device__ __forceinline__ int depth() const {
        return shape.kernel_height * shape.kernel_width * inner();
    }

    // Where the window of output position `row` begins (forward) or ends (backward).
    __device__ __forceinline__ void window(int row, int& y, int& x) const {
        int width = BACKWARD ? shape.width : shape.out_width;
        y = x = NOWHERE;
        if (row >= rows()) return;
        y = BACKWARD ? row / width + shape.padding : row / width * shape.stride - shape.padding;
        x = BACKWARD ? row % width + shape.padding : row % width * shape.stride - shape.padding;
    }

    // The left matrix at tap (i, j) and inner channel `channel`, for the window at (y, x).
    __device__ __forceinline__ T left(int y, int x, int i, int j, int channel) const {
        int height = shape.height, width = shape.width;
        if (BACKWARD) {
            y -= i;
            x -= j;
            if (y < 0 || x < 0) return T(0);
            if (shape.stride > 1) {
                if (y % shape.stride || x % shape.stride) return T(0);
                y /= shape.stride;
                x /= shape.stride;
            }
            height = shape.out_height;
            width = shape.out_width;
        } else {
            y += i;
            x += j;
            if (y < 0 || x < 0) return T(0);
        }
        if (y >= height || x >= width) return T(0);
        long long k = ((long long)y * width + x) * inner() + channel;
        if (BACKWARD && mask && !mask[k]) return T(0);
        if (BACKWARD && activation && !(activation[k] > T(0))) return T(0);
        return source[k];
    }

    __device__ __forceinline__ T right(int k, int column) const {
        if (k >= depth() || column >= columns()) return T(0);
        if (!BACKWARD) return kernel[(long long)k * shape.filters + column];
        int tap = k / shape.filters, filter = k % shape.filters;
        return kernel[((long long)tap * shape.channels + column) * shape.filters + filter];
    }
};

template <typename Tile, bool BACKWARD>
__device__ __forceinline__ void load_left(
    typename Tile::T* values, const Operands<typename Tile::T, BACKWARD>& operands,
    const Shared<Tile>& shared, int first) {
    // All values of a thread are in one column, so its tap and channel are computed once.
    // Neighbouring threads load neighbouring channels.
    int k = first + threadIdx.x % Tile::DEPTH;
    bool inside = k < operands.depth();
    int tap = k / operands.inner(), channel = k % operands.inner();
    int i = tap / operands.shape.kernel_width, j = tap % operands.shape.kernel_width;
#pragma unroll
    for (int load = 0; load < Tile::LEFT_LOADS; ++load) {
        int row = (threadIdx.x + load * Tile::THREADS) / Tile::DEPTH;
        values[load] = inside ? operands.left(shared.y[row], shared.x[row], i, j, channel) : 0;
    }
}

// The entry of a step's right matrix that a load fetches, in the order of the entries in memory.
template <typename Tile, bool BACKWARD>
__device__ __forceinline__ void right_entry(int load, int& k, int& column) {
    int entry = threadIdx.x + load * Tile::THREADS;
    k = BACKWARD ? entry % Tile::DEPTH : entry / Tile::COLUMNS;
    column = BACKWARD ? entry / Tile::DEPTH : entry % Tile::COLUMNS;
}

template <typename Tile, bool BACKWARD>
__device__ __forceinline__ void load_right(
    typename Tile::T* values, const Operands<typename Tile::T, BACKWARD>& operands, int first) {
#pragma unroll
    for (int load = 0; load < Tile::RIGHT_LOADS; ++load) {
        int k, column;
        right_entry<Tile, BACKWARD>(load, k, column);
        values[load] = operands.right(first + k, blockIdx.y * Tile::COLUMNS + column);
    }
}

template <typename Tile, bool BACKWARD>
__device__ __forceinline__ void store_step(Shared<Tile>& shared, const typename Tile::T* left,
                                           const typename Tile::T* right) {
#pragma unroll
    for (int load = 0; load < Tile::LEFT_LOADS; ++load)
        shared.left[threadIdx.x % Tile::DEPTH][(threadIdx.x + load * Tile::THREADS) / Tile::DEPTH] =
            left[load];
#pragma unroll
    for (int load = 0; load < Tile::RIGHT_LOADS; ++load) {
        int k, column;
        right_entry<Tile, BACKWARD>(load, k, column);
        if (k < Tile::DEPTH && column < Tile::COLUMNS) shared.right[k][column] = right[load];
    }
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

template <typename Tile, bool BACKWARD>
__device__ __forceinline__ void convolve(Shared<Tile>& shared,
                                         const Operands<typename Tile::T, BACKWARD>& operands,
                                         const typename Tile::T* bias, typename Tile::T* out,
                                         bool rectify) {
    typedef typename Tile::T T;
    int first_row = blockIdx.x * Tile::ROWS, first_column = blockIdx.y * Tile::COLUMNS;
    for (int row = threadIdx.x; row < Tile::ROWS; row += Tile::THREADS)
        operands.window(first_row + row, shared.y[row], shared.x[row]);
    __syncthreads();

    int columns_of_threads = Tile::COLUMNS / Tile::THREAD_COLUMNS;
    int my_row = threadIdx.x / columns_of_threads * Tile::THREAD_ROWS;
    int my_column = threadIdx.x % columns_of_threads * Tile::THREAD_COLUMNS;
    T sums[Tile::THREAD_ROWS][Tile::THREAD_COLUMNS] = {};
    T left[Tile::LEFT_LOADS], right[Tile::RIGHT_LOADS];
    // In round r, step r is loaded while step r - 1 is multiplied.
    int steps = (operands.depth() + Tile::DEPTH - 1) / Tile::DEPTH;
    for (int round = 0; round <= steps; ++round) {
        if (round < steps) {
            load_left<Tile, BACKWARD>(left, operands, shared, round * Tile::DEPTH);
            load_right<Tile, BACKWARD>(right, operands, round * Tile::DEPTH);
        }
        if (round > 0) multiply_step<Tile>(shared, my_row, my_column, sums);
        __syncthreads();
        if (round < steps) store_step<Tile, BACKWARD>(shared, left, right);
        __syncthreads();
    }

#pragma unroll
    for (int c = 0; c < Tile::THREAD_COLUMNS; ++c) {
        int column = first_column + my_column + c;
        if (column >= operands.columns()) continue;
        T added = bias ? bias[column] : T(0);
#pragma unroll
        for (int r = 0; r < Tile::THREAD_ROWS; ++r) {
            int row = first_row + my_row + r;
            T z = sums[r][c] + added;
            if (rectify && z < T(0)) z = 0;
            if (row < operands.rows()) out[(long long)row * operands.columns() + column] = z;
        }
    }
}

#define FORWARD(T, NAME, TILING)                                                                  \
    extern "C" __global__ void __launch_bounds__(TILING<T>::THREADS, TILING<T>::BLOCKS) NAME(     \
        const T* __restrict__ image, const T* __restrict__ kernel, const T* __restrict__ bias,    \
        T* __restrict__ out, int height, int width, int channels, int filters, int kernel_height, \
        int kernel_width, int stride, int padding, int out_height, int out_width, int rectify) {  \
        __shared__ Shared<TILING<T>> shared;                                                      \
        Operands<T, false> operands{image, kernel, nullptr, nullptr,                              \
                                    {height, width, channels, filters, kernel_height,             \
                                     kernel_width, stride, padding, out_height, out_width}};      \
        convolve<TILING<T>, false>(shared, operands, bias, out, rectify);                         \
    }

#define BACKWARD(T, NAME, TILING)                                                                 \
    extern "C" __global__ void __launch_bounds__(TILING<T>::THREADS, TILING<T>::BLOCKS) NAME(     \
        const T* __restrict__ upstream, const T* __restrict__ kernel,                             \
        const unsigned char* __restrict__ mask, const T* __restrict__ activation,                 \
        T* __restrict__ out, int height, int width, int channels, int filters, int kernel_height, \
        int kernel_width, int stride, int padding, int out_height, int out_width) {               \
        __shared__ Shared<TILING<T>> shared;                                                      \
        Operands<T, true> operands{upstream, kernel, mask, activation,                            \
                                   {height, width, channels, filters, kernel_height,              \
                                    kernel_width, stride, padding, out_height, out_width}};       \
        convolve<TILING<T>, true>(shared, operands, nullptr, out, false);                         \
    }

template <typename T>
using Wide = Tiling<T, 64, 64, 16, 4, 4>;
template <typename T>
using Narrow = Tiling<T, 128, 4, 8, 2, 4>;

FORWARD(float, conv2d_float32, Wide)
FORWARD(double, conv2d_float64, Wide)
BACKWARD(float, conv2d_backward_float32, Wide)
BACKWARD(double, conv2d_backward_float64, Wide)
BACKWARD(float, conv2d_backward_few_float32, Narrow)
BACKWARD(double, conv2d_backward_few_float64, Narrow)
