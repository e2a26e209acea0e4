// The rectified linear unit. NumPy twin: npstyle/maths/relu.py (relu, relu_backward).
//
//     Forward:     F = max(Z, 0)
//     Mask:        1 where F > 0, else 0: all that the derivative needs
//     Derivative:  dL/dZ = dL/dF where F > 0, else 0
//
// At Z = 0 the derivative is taken as 0. NaN stays NaN, as in numpy.maximum.
//
// Layout: any, the same for all arrays. Types: float32 or float64 (suffix of the name); masks are
// bytes.
// Launch: one thread per value, blocks of 256; `elementwise(count)`. `out` may be the input.

template <typename T>
__device__ __forceinline__ void relu(const T* pre_activation, T* out, long long count) {
    long long k = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (k >= count) return;
    T z = pre_activation[k];
    out[k] = z < T(0) ? T(0) : z;  // false for NaN, which stays NaN
}

template <typename T>
__device__ __forceinline__ void relu_mask(const T* activation, unsigned char* mask,
                                          long long count) {
    long long k = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (k < count) mask[k] = activation[k] > T(0);
}

// The mask is given as bytes or, if those are null, by the activation itself.
template <typename T>
__device__ __forceinline__ void relu_backward(const T* upstream, const unsigned char* mask,
                                              const T* activation, T* out, long long count) {
    long long k = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (k >= count) return;
    bool positive = mask ? mask[k] != 0 : activation[k] > T(0);
    out[k] = positive ? upstream[k] : T(0);
}

#define KERNELS(T, NAME)                                                                        \
    extern "C" __global__ void relu_##NAME(const T* pre_activation, T* out, long long count) {  \
        relu<T>(pre_activation, out, count);                                                    \
    }                                                                                           \
    extern "C" __global__ void relu_mask_##NAME(const T* activation, unsigned char* mask,       \
                                                long long count) {                              \
        relu_mask<T>(activation, mask, count);                                                  \
    }                                                                                           \
    extern "C" __global__ void relu_backward_##NAME(const T* upstream,                          \
                                                    const unsigned char* mask,                  \
                                                    const T* activation, T* out,                \
                                                    long long count) {                          \
        relu_backward<T>(upstream, mask, activation, out, count);                               \
    }

KERNELS(float, float32)
KERNELS(double, float64)
