// The rectified linear unit. NumPy twin: npstyle/ops/relu.py (relu, active, relu_backward).
//
//     Forward:     F = max(Z, 0)
//     Gate:        1 where F > 0, else 0: all that the derivative needs
//     Derivative:  dL/dZ = dL/dF where F > 0, else 0
//
// At Z = 0 the derivative is taken as 0. NaN stays NaN, as in numpy.maximum.
//
// Layout: any, all arrays alike. Types: float32 or float64 (the name's ending); gates are bytes.
// Launch: one thread per value, blocks of 256; `elementwise(count)`. `out` may be the input.

template <typename T>
__device__ __forceinline__ void relu(const T* pre_activation, T* out, long long count) {
    long long k = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (k >= count) return;
    T z = pre_activation[k];
    out[k] = z < T(0) ? T(0) : z;  // false for NaN, which is handed on
}

template <typename T>
__device__ __forceinline__ void relu_gate(const T* activation, unsigned char* gate,
                                          long long count) {
    long long k = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (k < count) gate[k] = activation[k] > T(0);
}

// The gate comes as bytes or, where those are null, from the activation itself.
template <typename T>
__device__ __forceinline__ void relu_backward(const T* gradient, const unsigned char* gate,
                                              const T* activation, T* out, long long count) {
    long long k = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (k >= count) return;
    bool open = gate ? gate[k] != 0 : activation[k] > T(0);
    out[k] = open ? gradient[k] : T(0);
}

#define KERNELS(T, NAME)                                                                        \
    extern "C" __global__ void relu_##NAME(const T* pre_activation, T* out, long long count) {  \
        relu<T>(pre_activation, out, count);                                                    \
    }                                                                                           \
    extern "C" __global__ void relu_gate_##NAME(const T* activation, unsigned char* gate,       \
                                                long long count) {                              \
        relu_gate<T>(activation, gate, count);                                                  \
    }                                                                                           \
    extern "C" __global__ void relu_backward_##NAME(const T* gradient,                          \
                                                    const unsigned char* gate,                  \
                                                    const T* activation, T* out,                \
                                                    long long count) {                          \
        relu_backward<T>(gradient, gate, activation, out, count);                               \
    }

KERNELS(float, float32)
KERNELS(double, float64)
