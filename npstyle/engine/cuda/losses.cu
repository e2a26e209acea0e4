// The losses and their derivatives with respect to the activations.
// NumPy twins: npstyle/maths/content.py, gram.py, style.py, variation.py.
//
//     content:  L = 1/2 sum (F - P)^2             dL/dF = F - P
//     style:    E = 1/(4 N^2) sum (G' - A')^2     dE/dF = F (D + D^T),
//                                                 D = dE/dG = (G' - A') / (2 N^2 M)
//     tv:       T = sum of (X - right neighbour)^2 + (X - lower neighbour)^2
//               dT/dX = 2 (4 X - its neighbours), without those beyond the edge
//
// Values. A float32 sum over millions of terms would lose digits, and atomics would add in a
// different order every time. Sums are therefore float64 and computed in two steps of fixed order:
// each block of `squares` adds some of the terms and writes one number; `total` adds those numbers
// in one block. The same shape on the same GPU gives the same bits.
//
// Derivatives are multiplied by a factor (alpha, beta, gamma). With `add`, they are added to what
// `out` holds; otherwise they overwrite it. The matrix products G = F^T F and F (D + D^T) are
// cuBLAS's: `style_slope` computes D + D^T from G' and A', and `gram_backward` completes the
// product with the guide, if there is one, and the addition.
//
// Layout: activations (positions, channels), Gram matrices (channels, channels), pixels (height,
// width, channels). Types: float32 or float64 (suffix of the name); partial sums float64.
// Launch: `reduction(count)` for squares_* and tv_*, `TOTAL` for total; for the others one thread
// per value that is written, blocks of 256, `elementwise(count)`.

#define BLOCK 256

// Adds one number per thread of the block, as a tree. Only thread 0 gets the sum.
__device__ __forceinline__ double block_sum(double* sums, double value) {
    sums[threadIdx.x] = value;
    __syncthreads();
    for (int half = BLOCK / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
        __syncthreads();
    }
    return sums[0];
}

template <typename T>
__device__ __forceinline__ double difference_squared(T a, T b) {
    T difference = a - b;
    return double(difference * difference);
}

template <typename T>
__device__ __forceinline__ double squares(const T* values, const T* target, long long count) {
    double sum = 0;
    for (long long k = (long long)blockIdx.x * BLOCK + threadIdx.x; k < count;
         k += (long long)gridDim.x * BLOCK)
        sum += difference_squared(values[k], target[k]);
    return sum;
}

template <typename T>
__device__ __forceinline__ double tv_terms(const T* image, int height, int width, int channels) {
    double sum = 0;
    long long row = (long long)width * channels, count = height * row;
    for (long long k = (long long)blockIdx.x * BLOCK + threadIdx.x; k < count;
         k += (long long)gridDim.x * BLOCK) {
        if (k % row < row - channels) sum += difference_squared(image[k + channels], image[k]);
        if (k < count - row) sum += difference_squared(image[k + row], image[k]);
    }
    return sum;
}

template <typename T>
__device__ __forceinline__ void tv_backward(const T* image, T factor, T* out, int height,
                                            int width, int channels, int add) {
    long long k = (long long)blockIdx.x * BLOCK + threadIdx.x;
    long long row = (long long)width * channels, count = height * row, column = k % row;
    if (k >= count) return;
    T x = image[k], sum = 0;
    if (column >= channels) sum += x - image[k - channels];
    if (column < row - channels) sum -= image[k + channels] - x;
    if (k >= row) sum += x - image[k - row];
    if (k < count - row) sum -= image[k + row] - x;
    T derivative = factor * (T(2) * sum);
    out[k] = add ? out[k] + derivative : derivative;
}

// result[0] = factor * sum of the partial sums. One block.
extern "C" __global__ void total(const double* partial, double* result, int count, double factor) {
    __shared__ double sums[BLOCK];
    double sum = 0;
    for (int k = threadIdx.x; k < count; k += BLOCK) sum += partial[k];
    sum = block_sum(sums, sum);
    if (threadIdx.x == 0) result[0] = factor * sum;
}

#define KERNELS(T, NAME)                                                                         \
    extern "C" __global__ void squares_##NAME(const T* values, const T* target, double* partial, \
                                              long long count) {                                 \
        __shared__ double sums[BLOCK];                                                           \
        double sum = block_sum(sums, squares<T>(values, target, count));                         \
        if (threadIdx.x == 0) partial[blockIdx.x] = sum;                                         \
    }                                                                                            \
    extern "C" __global__ void tv_##NAME(const T* image, double* partial, int height, int width, \
                                         int channels) {                                         \
        __shared__ double sums[BLOCK];                                                           \
        double sum = block_sum(sums, tv_terms<T>(image, height, width, channels));               \
        if (threadIdx.x == 0) partial[blockIdx.x] = sum;                                         \
    }                                                                                            \
    extern "C" __global__ void tv_backward_##NAME(const T* image, T factor, T* out, int height,  \
                                                  int width, int channels, int add) {            \
        tv_backward<T>(image, factor, out, height, width, channels, add);                        \
    }                                                                                            \
    extern "C" __global__ void content_backward_##NAME(const T* activation, const T* target,     \
                                                       T factor, T* out, int add,                \
                                                       long long count) {                        \
        long long k = (long long)blockIdx.x * BLOCK + threadIdx.x;                               \
        if (k >= count) return;                                                                  \
        T derivative = factor * (activation[k] - target[k]);                                     \
        out[k] = add ? out[k] + derivative : derivative;                                         \
    }                                                                                            \
    /* slope = D + D^T with D = (G' - A') factor, which rounding may leave slightly asymmetric */ \
    extern "C" __global__ void style_slope_##NAME(const T* gram, const T* target, T factor,      \
                                                  T* slope, int channels) {                      \
        int k = blockIdx.x * BLOCK + threadIdx.x;                                                \
        if (k >= channels * channels) return;                                                    \
        int mirrored = k % channels * channels + k / channels;                                   \
        slope[k] = (gram[k] - target[k]) * factor +                                              \
                   (gram[mirrored] - target[mirrored]) * factor;                                 \
    }                                                                                            \
    /* product = F (D + D^T); guide: one number per position, or null for 1. `out` may be        \
       `product`. */                                                                             \
    extern "C" __global__ void gram_backward_##NAME(const T* product, const T* guide, T* out,    \
                                                    long long positions, int channels, int add) { \
        long long k = (long long)blockIdx.x * BLOCK + threadIdx.x;                               \
        if (k >= positions * channels) return;                                                   \
        T derivative = product[k];                                                               \
        if (guide) derivative *= guide[k / channels];                                            \
        out[k] = add ? out[k] + derivative : derivative;                                         \
    }

KERNELS(float, float32)
KERNELS(double, float64)
