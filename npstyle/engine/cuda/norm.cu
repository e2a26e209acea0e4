// Instance normalisation. NumPy twin: npstyle/maths/normalization.py.
//
// With the mean m and the inverse deviation 1/s of each channel, and n = (x - m) / s,
//
//     Forward:     y = a n + b, and max(y, 0) if `rectify` is not 0
//     Derivative:  dL/dx = a/s (g - A/M - n B/M),      A = sum g,  B = sum g n = dL/da
//
// The sums over the M positions are those of channels.cu. The arithmetic is float64.
//
// Layout: images (height, width, channels), all else (channels,).
// Types: images, a and b float32 or float64 (suffix of the name), m, 1/s, A and B float64.
// Launch: one thread per value, blocks of 256 within a row; `rows(height, width * channels)`. `out`
// may be the image, or backward the upstream.

template <typename T>
__device__ __forceinline__ void instance_norm(const T* image, const double* mean,
                                              const double* inverse, const T* scale,
                                              const T* shift, T* out, int width, int channels,
                                              int rectify) {
    int in_row = blockIdx.x * blockDim.x + threadIdx.x, channel = in_row % channels;
    if (in_row >= width * channels) return;
    long long k = (long long)blockIdx.y * width * channels + in_row;
    double n = (double(image[k]) - mean[channel]) * inverse[channel];
    double y = double(scale[channel]) * n + double(shift[channel]);
    out[k] = T(rectify && y < 0 ? 0 : y);  // NaN stays NaN
}

template <typename T>
__device__ __forceinline__ void instance_norm_backward(const T* upstream, const T* image,
                                                       const double* mean, const double* inverse,
                                                       const T* scale, const double* A,
                                                       const double* B, T* out, int height,
                                                       int width, int channels) {
    int in_row = blockIdx.x * blockDim.x + threadIdx.x, channel = in_row % channels;
    if (in_row >= width * channels) return;
    long long k = (long long)blockIdx.y * width * channels + in_row;
    double n = (double(image[k]) - mean[channel]) * inverse[channel];
    double share = 1.0 / ((double)height * width);
    double inside = double(upstream[k]) - (A[channel] + n * B[channel]) * share;
    out[k] = T(double(scale[channel]) * inverse[channel] * inside);
}

#define KERNELS(T, NAME)                                                                        \
    extern "C" __global__ void instance_norm_##NAME(                                            \
        const T* image, const double* mean, const double* inverse, const T* scale,              \
        const T* shift, T* out, int width, int channels, int rectify) {                         \
        instance_norm<T>(image, mean, inverse, scale, shift, out, width, channels, rectify);    \
    }                                                                                           \
    extern "C" __global__ void instance_norm_backward_##NAME(                                   \
        const T* upstream, const T* image, const double* mean, const double* inverse,           \
        const T* scale, const double* A, const double* B, T* out, int height, int width,        \
        int channels) {                                                                         \
        instance_norm_backward<T>(upstream, image, mean, inverse, scale, A, B, out, height,     \
                                  width, channels);                                             \
    }

KERNELS(float, float32)
KERNELS(double, float64)
