// The residual sum, ReLU6 and the sigmoid.
// NumPy twins: npstyle/maths/relu.py (relu6, relu6_backward), npstyle/maths/sigmoid.py.
//
//     add:      Y = X + S
//     relu6:    F = min(max(Z, 0), 6)         dL/dZ = dL/dF where 0 < F < 6, else 0
//     sigmoid:  Y = (1 + tanh(Z / 2)) / 2     dL/dZ = dL/dY Y (1 - Y)
//
// NaN stays NaN, as in NumPy.
//
// Layout: any, the same for all arrays. Types: float32 or float64 (suffix of the name).
// Launch: one thread per value, blocks of 256; `elementwise(count)`. `out` may be an input.

template <typename T>
__device__ __forceinline__ T add(T x, T s) {
    return x + s;
}

template <typename T>
__device__ __forceinline__ T relu6(T z) {
    return z < T(0) ? T(0) : z > T(6) ? T(6) : z;
}

template <typename T>
__device__ __forceinline__ T relu6_backward(T upstream, T activation) {
    return activation > T(0) && activation < T(6) ? upstream : T(0);
}

template <typename T>
__device__ __forceinline__ T sigmoid(T z) {
    return (T(1) + tanh(z * T(0.5))) * T(0.5);
}

template <typename T>
__device__ __forceinline__ T sigmoid_backward(T upstream, T y) {
    return upstream * y * (T(1) - y);
}

#define ONE(T, NAME, FUNCTION)                                                                   \
    extern "C" __global__ void FUNCTION##_##NAME(const T* given, T* out, long long count) {      \
        long long k = (long long)blockIdx.x * blockDim.x + threadIdx.x;                          \
        if (k < count) out[k] = FUNCTION(given[k]);                                              \
    }

#define TWO(T, NAME, FUNCTION)                                                                   \
    extern "C" __global__ void FUNCTION##_##NAME(const T* first, const T* second, T* out,        \
                                                 long long count) {                              \
        long long k = (long long)blockIdx.x * blockDim.x + threadIdx.x;                          \
        if (k < count) out[k] = FUNCTION(first[k], second[k]);                                   \
    }

#define KERNELS(T, NAME)          \
    TWO(T, NAME, add)             \
    ONE(T, NAME, relu6)           \
    TWO(T, NAME, relu6_backward)  \
    ONE(T, NAME, sigmoid)         \
    TWO(T, NAME, sigmoid_backward)

KERNELS(float, float32)
KERNELS(double, float64)
