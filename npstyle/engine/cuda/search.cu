// What the search does with whole pictures. NumPy twins: npstyle/optimizers.py (mirror,
// mirror_backward), npstyle/lbfgs.py (its inner products).
//
//     mirror:            x = |r(z)|,   r(z) = z - 510 round(z / 510)
//     mirror_backward:   dL/dz = -dL/dx where r(z) < 0, else dL/dx
//     inner_products:    P[k, j] = sum_i B[k, i] B[row_j, i]    for three rows of B at a time
//
// Values. Sums are made in two steps with a fixed order: each block of `inner_products` adds a share
// of one row's terms and writes three numbers; `inner_products_total` adds those. Same shape, same
// bits. A row that is multiplied by itself or its neighbours is read again by each block of rows:
// the three are small enough to stay in the card's L2 cache.
//
// Layout: any, all arrays alike; B (rows, count). Type: float64, as the search's.
// Launch: `elementwise(count)` for mirror*, `inner_products(rows, count)`: grid (shares, rows), and
// `elementwise(3 rows)` for inner_products_total.

#define BLOCK 256

__device__ __forceinline__ double within_a_wave(double z) { return z - 510.0 * rint(z / 510.0); }

extern "C" __global__ void mirror(const double* z, double* out, long long count) {
    long long k = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (k < count) out[k] = fabs(within_a_wave(z[k]));
}

extern "C" __global__ void mirror_backward(const double* gradient, const double* z, double* out,
                                           long long count) {
    long long k = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (k < count) out[k] = within_a_wave(z[k]) < 0.0 ? -gradient[k] : gradient[k];
}

// partial[share, row, j], shares = gridDim.x.
extern "C" __global__ void inner_products(const double* basis, double* partial, long long count,
                                          int first, int second, int third) {
    __shared__ double sums[3][BLOCK];
    const double* row = basis + blockIdx.y * count;
    const double* others[3] = {basis + first * count, basis + second * count,
                               basis + third * count};
    double sum[3] = {0.0, 0.0, 0.0};
    for (long long k = (long long)blockIdx.x * BLOCK + threadIdx.x; k < count;
         k += (long long)gridDim.x * BLOCK) {
        double value = row[k];
#pragma unroll
        for (int j = 0; j < 3; ++j) sum[j] += value * others[j][k];
    }
#pragma unroll
    for (int j = 0; j < 3; ++j) sums[j][threadIdx.x] = sum[j];
    __syncthreads();
    for (int half = BLOCK / 2; half > 0; half /= 2) {
        if (threadIdx.x < half)
#pragma unroll
            for (int j = 0; j < 3; ++j) sums[j][threadIdx.x] += sums[j][threadIdx.x + half];
        __syncthreads();
    }
    if (threadIdx.x < 3)
        partial[(blockIdx.x * (long long)gridDim.y + blockIdx.y) * 3 + threadIdx.x] =
            sums[threadIdx.x][0];
}

// products[row, j] = sum over the shares.
extern "C" __global__ void inner_products_total(const double* partial, double* products, int shares,
                                                int count) {
    int k = blockIdx.x * blockDim.x + threadIdx.x;
    if (k >= count) return;
    double sum = 0.0;
    for (int share = 0; share < shares; ++share) sum += partial[(long long)share * count + k];
    products[k] = sum;
}
