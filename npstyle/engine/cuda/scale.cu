// A power of two that scales an array into fp16's exact range. `conv_tensor.cu` multiplies the
// array by it and divides the sums by it, which is exact. NumPy twin: none; the convolution's is
// npstyle/maths/conv.py.
//
//     largest:   m_b = max |x| over some of the values x, for each block b
//     scale_up:  s = 2^(10 - floor(log2 max_b m_b)), or 1 if the maximum is 0 or infinite
//
// so that the largest |x| s lies in 2^10..2^11, and s <= 2^120. NaN is skipped: it reaches the sums
// of the convolution anyway.
//
// Layout: any. Type: float32.
// Launch: `reduction(count)` for largest, `SCALE_UP` (one block) for scale_up.

// The largest number of the block's 256 threads. Only thread 0 gets it.
__device__ __forceinline__ float block_largest(float* found, float value) {
    found[threadIdx.x] = value;
    __syncthreads();
    for (int half = 128; half > 0; half /= 2) {
        if (threadIdx.x < half)
            found[threadIdx.x] = fmaxf(found[threadIdx.x], found[threadIdx.x + half]);
        __syncthreads();
    }
    return found[0];
}

extern "C" __global__ void largest(const float* __restrict__ values, float* __restrict__ partial,
                                   long long count) {
    __shared__ float found[256];
    float most = 0.0f;
    for (long long k = (long long)blockIdx.x * 256 + threadIdx.x; k < count;
         k += (long long)gridDim.x * 256)
        most = fmaxf(most, fabsf(values[k]));
    most = block_largest(found, most);
    if (threadIdx.x == 0) partial[blockIdx.x] = most;
}

extern "C" __global__ void scale_up(const float* __restrict__ partial, float* __restrict__ scale,
                                    int count) {
    __shared__ float found[256];
    float most = 0.0f;
    for (int k = threadIdx.x; k < count; k += 256) most = fmaxf(most, partial[k]);
    most = block_largest(found, most);
    int up = most > 0.0f && most <= 3.4e38f ? 10 - ilogbf(most) : 0;
    if (threadIdx.x == 0) scale[0] = ldexpf(1.0f, up < 120 ? up : 120);
}
