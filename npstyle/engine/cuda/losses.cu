// The losses and their derivatives at the activations. NumPy twin: npstyle/losses.py.
//
//     content:  L = 1/2 sum (F - P)^2             dL/dF = F - P
//     style:    E = 1/(4 N^2) sum (G' - A')^2     dE/dF = F (D + D^T),
//                                                 D = dE/dG = (G' - A') / (2 N^2 M)
//     tv:       T = sum of (X - its right neighbour)^2 + (X - its lower neighbour)^2
//               dT/dX = 2 (4 X - its neighbours), without those beyond the edge
//
// With `gated`, dL/dF and dE/dF are 0 where F <= 0: the gate of the ReLU that F came out of. A caller
// who goes back through that ReLU anyway leaves it out, and F unread in `style_backward`.
//
// Values. A sum over millions of float32 would lose digits, and atomics would add in another order
// every time. So sums are float64 and made in two steps with a fixed order: each block of
// `squares` adds its share of the terms and writes one number; `total` adds those in one block.
// Same shape, same card, same bits.
//
// Derivatives are added to what arrives from deeper layers: out = upstream + derivative. Where
// upstream is null, out = derivative; `out` may be `upstream`. The matrix products G = F^T F and
// F (D + D^T) are cuBLAS's; `style_slope` makes D + D^T from G' and A', and `style_backward` ends
// the product: the gate, the guide's weights if there are any, the sum.
//
// Layout: activations (positions, channels), Gram matrices (channels, channels), pixels (height,
// width, channels). Types: float32 or float64 (the name's ending); partial sums float64.
// Launch: `reduction(count)` for squares_* and tv_*, `TOTAL` for total, else one thread per value
// that is written in blocks of 256, `elementwise(count)`.

#define BLOCK 256

// Adds the numbers of a block's threads as a tree; the result is right in thread 0.
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
__device__ __forceinline__ void tv_backward(const T* image, T factor, const T* upstream, T* out,
                                            int height, int width, int channels) {
    long long k = (long long)blockIdx.x * BLOCK + threadIdx.x;
    long long row = (long long)width * channels, count = height * row, column = k % row;
    if (k >= count) return;
    T x = image[k], sum = 0;
    if (column >= channels) sum += x - image[k - channels];
    if (column < row - channels) sum -= image[k + channels] - x;
    if (k >= row) sum += x - image[k - row];
    if (k < count - row) sum -= image[k + row] - x;
    T derivative = factor * (T(2) * sum);
    out[k] = upstream ? upstream[k] + derivative : derivative;
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
    extern "C" __global__ void tv_backward_##NAME(const T* image, T factor, const T* upstream,   \
                                                  T* out, int height, int width, int channels) { \
        tv_backward<T>(image, factor, upstream, out, height, width, channels);                   \
    }                                                                                            \
    extern "C" __global__ void content_backward_##NAME(const T* activation, const T* target,     \
                                                       T factor, const T* upstream, T* out,      \
                                                       int gated, long long count) {             \
        long long k = (long long)blockIdx.x * BLOCK + threadIdx.x;                               \
        if (k >= count) return;                                                                  \
        T F = activation[k], derivative = factor * (F - target[k]);                              \
        if (gated && !(F > T(0))) derivative = T(0);                                             \
        out[k] = upstream ? upstream[k] + derivative : derivative;                               \
    }                                                                                            \
    /* slope = D + D^T with D = (G' - A') factor, which need not be symmetric to the last bit */ \
    extern "C" __global__ void style_slope_##NAME(const T* gram, const T* target, T factor,      \
                                                  T* slope, int channels) {                      \
        int k = blockIdx.x * BLOCK + threadIdx.x;                                                \
        if (k >= channels * channels) return;                                                    \
        int mirrored = k % channels * channels + k / channels;                                   \
        slope[k] = (gram[k] - target[k]) * factor +                                              \
                   (gram[mirrored] - target[mirrored]) * factor;                                 \
    }                                                                                            \
    /* product = F slope; weights: one per position, or null for 1 */                            \
    extern "C" __global__ void style_backward_##NAME(                                            \
        const T* product, const T* activation, const T* weights, const T* upstream, T* out,      \
        long long positions, int channels, int gated) {                                          \
        long long k = (long long)blockIdx.x * BLOCK + threadIdx.x;                               \
        if (k >= positions * channels) return;                                                   \
        T derivative = !gated || activation[k] > T(0) ? product[k] : T(0);                       \
        if (weights) derivative *= weights[k / channels];                                        \
        out[k] = upstream ? upstream[k] + derivative : derivative;                               \
    }

KERNELS(float, float32)
KERNELS(double, float64)
