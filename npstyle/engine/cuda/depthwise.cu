// Depthwise convolution: every channel has one filter of its own.
// NumPy twin: npstyle/maths/depthwise.py.
//
//     Forward:     Z[y, x, c] = b[c] + sum_{i,j} X[s y + i - p, s x + j - p, c] K[i, j, c]
//     Derivative:  dL/dX[u, v, c] = sum_{i,j} g[(u + p - i)/s, (v + p - j)/s, c] K[i, j, c]
//                  over whole quotients only
//
// where X and g are 0 outside. The derivative is gathered: each thread adds what arrives at one
// value of the image.
//
// Layout: images (height, width, channels), kernels (kernel height, kernel width, channels).
// Types: float32 or float64 (suffix of the name).
// Launch: one thread per value that is written, blocks of 256 within a row;
// `rows(height, width * channels)` of the array that is written.

struct Shape {
    int height, width, channels, kernel_height, kernel_width, stride, padding;
    int out_height, out_width;
};

template <typename T>
__device__ __forceinline__ void depthwise(const T* image, const T* kernel, const T* bias, T* out,
                                          const Shape& shape) {
    int k = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y;
    int x = k / shape.channels, channel = k % shape.channels;
    if (x >= shape.out_width) return;
    T sum = bias[channel];
    for (int i = 0; i < shape.kernel_height; ++i) {
        int u = y * shape.stride + i - shape.padding;
        if (u < 0 || u >= shape.height) continue;
        for (int j = 0; j < shape.kernel_width; ++j) {
            int v = x * shape.stride + j - shape.padding;
            if (v < 0 || v >= shape.width) continue;
            sum += image[((long long)u * shape.width + v) * shape.channels + channel] *
                   kernel[(i * shape.kernel_width + j) * shape.channels + channel];
        }
    }
    out[((long long)y * shape.out_width + x) * shape.channels + channel] = sum;
}

template <typename T>
__device__ __forceinline__ void depthwise_backward(const T* upstream, const T* kernel, T* out,
                                                   const Shape& shape) {
    int k = blockIdx.x * blockDim.x + threadIdx.x, u = blockIdx.y;
    int v = k / shape.channels, channel = k % shape.channels;
    if (v >= shape.width) return;
    T sum = 0;
    for (int i = 0; i < shape.kernel_height; ++i) {
        int top = u + shape.padding - i, y = top / shape.stride;
        if (top < 0 || top % shape.stride || y >= shape.out_height) continue;
        for (int j = 0; j < shape.kernel_width; ++j) {
            int left = v + shape.padding - j, x = left / shape.stride;
            if (left < 0 || left % shape.stride || x >= shape.out_width) continue;
            sum += upstream[((long long)y * shape.out_width + x) * shape.channels + channel] *
                   kernel[(i * shape.kernel_width + j) * shape.channels + channel];
        }
    }
    out[((long long)u * shape.width + v) * shape.channels + channel] = sum;
}

#define KERNELS(T, NAME)                                                                         \
    extern "C" __global__ void depthwise_conv2d_##NAME(                                          \
        const T* __restrict__ image, const T* __restrict__ kernel, const T* __restrict__ bias,   \
        T* __restrict__ out, int height, int width, int channels, int kernel_height,             \
        int kernel_width, int stride, int padding, int out_height, int out_width) {              \
        depthwise<T>(image, kernel, bias, out,                                                   \
                     Shape{height, width, channels, kernel_height, kernel_width, stride,         \
                           padding, out_height, out_width});                                     \
    }                                                                                            \
    extern "C" __global__ void depthwise_conv2d_backward_##NAME(                                 \
        const T* __restrict__ upstream, const T* __restrict__ kernel, T* __restrict__ out,       \
        int height, int width, int channels, int kernel_height, int kernel_width, int stride,    \
        int padding, int out_height, int out_width) {                                            \
        depthwise_backward<T>(upstream, kernel, out,                                             \
                              Shape{height, width, channels, kernel_height, kernel_width,        \
                                    stride, padding, out_height, out_width});                    \
    }

KERNELS(float, float32)
KERNELS(double, float64)
