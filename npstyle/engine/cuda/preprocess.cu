// From pixels to the input of a network, and the derivative.
// NumPy twin: npstyle/maths/preprocessing.py (preprocess, preprocess_backward).
//
//     z = (x - m) s             in the network's channel order
//     dL/dx = s dL/dz           in the order of the pixels, RGB
//
// Layout: (height, width, 3). Pixels and their upstream are float64, as in the search; z and dL/dz
// are float32 or float64 (suffix of the name). The arithmetic is float64 in both directions.
// m and s are given in the network's order; `bgr` is 1 for a network that reads BGR, else 0.
// Launch: one thread per pixel, blocks of 256; `elementwise(height * width)`.

template <typename T>
__device__ __forceinline__ void preprocess(const double* pixels, T* out, long long count,
                                           int bgr, const double* mean, const double* scale) {
    long long k = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (k >= count) return;
    for (int channel = 0; channel < 3; ++channel) {
        double x = pixels[3 * k + (bgr ? 2 - channel : channel)];
        out[3 * k + channel] = T((x - mean[channel]) * scale[channel]);
    }
}

template <typename T>
__device__ __forceinline__ void preprocess_backward(const T* upstream, double* out,
                                                    long long count, int bgr,
                                                    const double* scale) {
    long long k = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (k >= count) return;
    for (int channel = 0; channel < 3; ++channel)
        out[3 * k + (bgr ? 2 - channel : channel)] =
            double(upstream[3 * k + channel]) * scale[channel];
}

#define KERNELS(T, NAME)                                                                         \
    extern "C" __global__ void preprocess_##NAME(const double* __restrict__ pixels,              \
                                                 T* __restrict__ out, long long count,           \
                                                 int bgr, double mean0, double mean1,         \
                                                 double mean2, double scale0, double scale1,     \
                                                 double scale2) {                                \
        const double mean[3] = {mean0, mean1, mean2}, scale[3] = {scale0, scale1, scale2};       \
        preprocess<T>(pixels, out, count, bgr, mean, scale);                                  \
    }                                                                                            \
    extern "C" __global__ void preprocess_backward_##NAME(const T* __restrict__ upstream,        \
                                                          double* __restrict__ out,              \
                                                          long long count, int bgr,           \
                                                          double scale0, double scale1,          \
                                                          double scale2) {                       \
        const double scale[3] = {scale0, scale1, scale2};                                        \
        preprocess_backward<T>(upstream, out, count, bgr, scale);                             \
    }

KERNELS(float, float32)
KERNELS(double, float64)
