// Sums over the positions of an image, one for each channel.
// NumPy twins: npstyle/maths/normalization.py, and global_avg_pool in npstyle/maths/pooling.py.
//
//     channel_sums:      S_c = sum_k X[k, c]
//     channel_squares:   S_c = sum_k (X[k, c] - m_c)^2
//     channel_products:  S_c = sum_k g[k, c] (X[k, c] - m_c)      m = 0 if it is null
//
// Sums are float64 and computed in two steps of fixed order, as in losses.cu: each block adds some
// of the positions and writes one number for each of its channels; `channel_totals` adds those.
//
// Neighbouring threads read neighbouring values. With up to 256 channels, a block reads
// floor(256 / channels) whole positions at a time; with more, each block has 256 of the channels.
//
// Layout: images (positions, channels), m (channels,), partial sums (channels, blocks).
// Types: X and g float32 or float64 (suffix of the name), all else float64.
// Launch: `channel_sums(kernel, positions, channels)`, and `channel_totals(channels)`: one block
// per channel.

#define BLOCK 256

template <typename T>
struct Sums {
    const T* image;
    __device__ __forceinline__ double operator()(long long k, int channel) const {
        return double(image[k]);
    }
};

template <typename T>
struct Squares {
    const T* image;
    const double* mean;
    __device__ __forceinline__ double operator()(long long k, int channel) const {
        double deviation = double(image[k]) - mean[channel];
        return deviation * deviation;
    }
};

template <typename T>
struct Products {
    const T* upstream;
    const T* image;
    const double* mean;
    __device__ __forceinline__ double operator()(long long k, int channel) const {
        return double(upstream[k]) * (double(image[k]) - (mean ? mean[channel] : 0.0));
    }
};

template <typename Term>
__device__ __forceinline__ void add_up(double* sums, const Term& term, double* partial,
                                       int positions, int channels) {
    int width = channels < BLOCK ? channels : BLOCK, at_once = BLOCK / width;
    int place = threadIdx.x / width, own = threadIdx.x % width;
    int channel = blockIdx.y * BLOCK + own;
    double sum = 0;
    if (place < at_once && channel < channels)
        for (long long position = (long long)blockIdx.x * at_once + place; position < positions;
             position += (long long)gridDim.x * at_once)
            sum += term(position * channels + channel, channel);
    sums[threadIdx.x] = sum;
    __syncthreads();
    if (place > 0 || channel >= channels) return;
    for (int other = 1; other < at_once; ++other) sum += sums[other * width + own];
    partial[(long long)channel * gridDim.x + blockIdx.x] = sum;
}

// result[c] = factor * sum of the channel's partial sums, as a tree.
extern "C" __global__ void channel_totals(const double* __restrict__ partial,
                                          double* __restrict__ result, int count,
                                          double factor) {
    __shared__ double sums[BLOCK];
    double sum = 0;
    for (int k = threadIdx.x; k < count; k += BLOCK)
        sum += partial[(long long)blockIdx.x * count + k];
    sums[threadIdx.x] = sum;
    __syncthreads();
    for (int half = BLOCK / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
        __syncthreads();
    }
    if (threadIdx.x == 0) result[blockIdx.x] = factor * sums[0];
}

#define KERNELS(T, NAME)                                                                         \
    extern "C" __global__ void channel_sums_##NAME(const T* __restrict__ image,                  \
                                                   double* __restrict__ partial, int positions,  \
                                                   int channels) {                               \
        __shared__ double sums[BLOCK];                                                           \
        add_up(sums, Sums<T>{image}, partial, positions, channels);                              \
    }                                                                                            \
    extern "C" __global__ void channel_squares_##NAME(                                           \
        const T* __restrict__ image, const double* __restrict__ mean,                            \
        double* __restrict__ partial, int positions, int channels) {                             \
        __shared__ double sums[BLOCK];                                                           \
        add_up(sums, Squares<T>{image, mean}, partial, positions, channels);                     \
    }                                                                                            \
    extern "C" __global__ void channel_products_##NAME(                                          \
        const T* __restrict__ upstream, const T* __restrict__ image,                             \
        const double* __restrict__ mean, double* __restrict__ partial, int positions,            \
        int channels) {                                                                          \
        __shared__ double sums[BLOCK];                                                           \
        add_up(sums, Products<T>{upstream, image, mean}, partial, positions, channels);          \
    }

KERNELS(float, float32)
KERNELS(double, float64)
