// Pooling: each window of k x k positions, s apart, becomes one value per channel.
// NumPy twin: npstyle/maths/pooling.py (avg_pool2d, max_pool2d, l2_pool2d and their derivatives).
//
//     avg:  Y = 1/k^2 sum X           dL/dX = 1/k^2 sum of dL/dY over the windows around X
//     max:  Y = max X                 dL/dX = sum of dL/dY over the windows that X wins
//     l2:   Y = sqrt(1/k^2 sum X^2)   dL/dX = X/k^2 sum of (dL/dY)/Y over the windows around X
//
// The winner of a window is its first maximum in reading order. Where a whole l2 window is 0, its
// derivative is taken as 0. Windows that would reach over the edge are dropped.
//
// Backward, each thread gathers the gradient of one pixel from the windows that contain it, in the
// order in which the NumPy engine adds them. No two threads write to one place, whether windows
// overlap or not.
//
// Layout: images (height, width, channels), pooled images (out height, out width, channels).
// Types: float32 or float64 (suffix of the name).
// Launch: one thread per value that is written, blocks of 256 within a row;
// `rows(height, width * channels)` of the array that is written.

struct Shape {
    int height, width, channels, size, stride, out_height, out_width;
};

// The value that a thread writes: one channel of one position in row blockIdx.y. (A block stays in
// one row, because a 64-bit division for every value would cost more than the pooling.)
struct Place {
    int y, x, channel;
    bool inside;
};

__device__ __forceinline__ Place my_place(int width, int channels) {
    int k = blockIdx.x * blockDim.x + threadIdx.x;
    Place place;
    place.y = blockIdx.y;
    place.x = k / channels;
    place.channel = k % channels;
    place.inside = place.x < width;
    return place;
}

__device__ __forceinline__ long long at(const Shape& shape, int y, int x, int channel) {
    return ((long long)y * shape.width + x) * shape.channels + channel;
}

__device__ __forceinline__ long long pooled_at(const Shape& shape, int y, int x, int channel) {
    return ((long long)y * shape.out_width + x) * shape.channels + channel;
}

enum Mode { AVG, MAX, L2 };

template <typename T, int MODE>
__device__ __forceinline__ void pool(const T* image, T* out, const Shape& shape) {
    Place place = my_place(shape.out_width, shape.channels);
    if (!place.inside) return;
    int top = place.y * shape.stride, left = place.x * shape.stride;
    T result = MODE == MAX ? image[at(shape, top, left, place.channel)] : T(0);
    for (int i = 0; i < shape.size; ++i)
        for (int j = 0; j < shape.size; ++j) {
            T value = image[at(shape, top + i, left + j, place.channel)];
            // NaN stays NaN, as in numpy.maximum.
            if (MODE == MAX) result = value > result || value != value ? value : result;
            if (MODE == AVG) result += value;
            if (MODE == L2) result += value * value;
        }
    T factor = T(1) / T(shape.size * shape.size);
    if (MODE == AVG) result *= factor;
    if (MODE == L2) result = sqrt(result * factor);
    out[pooled_at(shape, place.y, place.x, place.channel)] = result;
}

// Whether the pixel at (i, j) of a window is the first one that equals the maximum.
template <typename T>
__device__ __forceinline__ bool wins(const T* image, const Shape& shape, int top, int left, int i,
                                     int j, int channel, T maximum) {
    if (image[at(shape, top + i, left + j, channel)] != maximum) return false;
    for (int before = 0; before < i * shape.size + j; ++before) {
        int y = top + before / shape.size, x = left + before % shape.size;
        if (image[at(shape, y, x, channel)] == maximum) return false;
    }
    return true;
}

template <typename T, int MODE>
__device__ __forceinline__ void pool_backward(const T* upstream, const T* image, const T* pooled,
                                              T* out, const Shape& shape) {
    Place place = my_place(shape.width, shape.channels);
    if (!place.inside) return;
    T factor = T(1) / T(shape.size * shape.size);
    T sum = 0;
    for (int i = 0; i < shape.size; ++i) {
        int top = place.y - i, y = top / shape.stride;
        if (top < 0 || top % shape.stride || y >= shape.out_height) continue;
        for (int j = 0; j < shape.size; ++j) {
            int left = place.x - j, x = left / shape.stride;
            if (left < 0 || left % shape.stride || x >= shape.out_width) continue;
            long long window = pooled_at(shape, y, x, place.channel);
            T value = upstream[window];
            if (MODE == AVG) sum += value * factor;
            if (MODE == L2 && pooled[window] > T(0)) sum += value / pooled[window] * factor;
            if (MODE == MAX &&
                wins(image, shape, top, left, i, j, place.channel, pooled[window]))
                sum += value;
        }
    }
    long long k = at(shape, place.y, place.x, place.channel);
    out[k] = MODE == L2 ? sum * image[k] : sum;
}

#define MODES(T, NAME, MODE, POOL)                                                                \
    extern "C" __global__ void POOL##_##NAME(const T* __restrict__ image, T* __restrict__ out,    \
                                             int height, int width, int channels, int size,       \
                                             int stride, int out_height, int out_width) {         \
        pool<T, MODE>(image, out,                                                                 \
                      Shape{height, width, channels, size, stride, out_height, out_width});       \
    }                                                                                             \
    extern "C" __global__ void POOL##_backward_##NAME(                                            \
        const T* __restrict__ upstream, const T* __restrict__ image,                              \
        const T* __restrict__ pooled, T* __restrict__ out, int height, int width, int channels,   \
        int size, int stride, int out_height, int out_width) {                                    \
        pool_backward<T, MODE>(                                                                   \
            upstream, image, pooled, out,                                                         \
            Shape{height, width, channels, size, stride, out_height, out_width});                 \
    }

#define KERNELS(T, NAME)              \
    MODES(T, NAME, AVG, avg_pool2d)   \
    MODES(T, NAME, MAX, max_pool2d)   \
    MODES(T, NAME, L2, l2_pool2d)

// The derivative of the average reads neither image nor pooled: both may be null.
KERNELS(float, float32)
KERNELS(double, float64)
