// Vector operations of the search. NumPy twins: npstyle/maths/box.py (mirror, mirror_backward) and
// the inner products in npstyle/search/lbfgs.py.
//
//     mirror:            x = |r(z)|,   r(z) = z - 510 round(z / 510)
//     mirror_backward:   dL/dz = -dL/dx where r(z) < 0, else dL/dx
//     inner_products:    p[k] = sum_i B[k, i] v[i]
//
// Sums are computed in two steps of fixed order: each block of `inner_products` adds some of the
// terms of one row and writes a number; `inner_products_total` adds those. The same shape
// gives the same bits. Every row of blocks reads v again; it is small enough to stay in the GPU's
// L2 cache.
//
// Layout: any, the same for all arrays; B (rows, count). Types: float64 for mirror*; float32 or
// float64 (suffix of the name) for inner_products, which adds in float64.
// Launch: `elementwise(count)` for mirror*; `inner_products(dtype, rows, count)`: grid (blocks,
// rows); `elementwise(rows)` for inner_products_total.

#define BLOCK 256

__device__ __forceinline__ double reflected(double z) { return z - 510.0 * rint(z / 510.0); }

extern "C" __global__ void mirror(const double* z, double* out, long long count) {
    long long k = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (k < count) out[k] = fabs(reflected(z[k]));
}

extern "C" __global__ void mirror_backward(const double* upstream, const double* z, double* out,
                                           long long count) {
    long long k = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (k < count) out[k] = reflected(z[k]) < 0.0 ? -upstream[k] : upstream[k];
}

// partial[block, row] for each blockIdx.x.
template <typename T>
__device__ __forceinline__ void add_up(double* sums, const T* basis, const T* vector,
                                       double* partial, long long count) {
    const T* row = basis + blockIdx.y * count;
    double sum = 0.0;
    for (long long k = (long long)blockIdx.x * BLOCK + threadIdx.x; k < count;
         k += (long long)gridDim.x * BLOCK)
        sum += (double)row[k] * (double)vector[k];
    sums[threadIdx.x] = sum;
    __syncthreads();
    for (int half = BLOCK / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
        __syncthreads();
    }
    if (threadIdx.x == 0) partial[blockIdx.x * (long long)gridDim.y + blockIdx.y] = sums[0];
}

#define INNER_PRODUCTS(T, NAME)                                                                \
    extern "C" __global__ void inner_products_##NAME(const T* basis, const T* vector,          \
                                                     double* partial, long long count) {       \
        __shared__ double sums[BLOCK];                                                         \
        add_up(sums, basis, vector, partial, count);                                           \
    }

INNER_PRODUCTS(float, float32)
INNER_PRODUCTS(double, float64)

// products[row] = sum over the blocks.
extern "C" __global__ void inner_products_total(const double* partial, double* products, int blocks,
                                                int count) {
    int k = blockIdx.x * blockDim.x + threadIdx.x;
    if (k >= count) return;
    double sum = 0.0;
    for (int block = 0; block < blocks; ++block) sum += partial[(long long)block * count + k];
    products[k] = sum;
}
