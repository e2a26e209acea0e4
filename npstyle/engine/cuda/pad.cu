// Replicate and reflect padding. NumPy twin: npstyle/maths/padding.py.
//
//     Forward:     Y[u, v] = X[f(u - p), f(v - p)],    f(u) = clip(u) or mirror(u)
//     Derivative:  dL/dX[y, x] = sum of dL/dY over all places (u, v) that copy pixel (y, x)
//
// The derivative is gathered, not scattered. Replicated copies of a pixel fill a rectangle: one
// place inside the image, p + 1 rows or columns at an edge. A reflected pixel has a copy beyond
// each edge that it is near to, at most three places along an axis with its own. The pixel's thread
// adds them in order.
//
// Layout: (height, width, channels); Y and dL/dY have 2 p more rows and columns.
// Types: float32 or float64 (suffix of the name).
// Launch: one thread per value that is written, blocks of 256 within a row;
// `rows(height, width * channels)` of the array that is written.

__device__ __forceinline__ int clip(int u, int length) {
    return u < 0 ? 0 : u >= length ? length - 1 : u;
}

// For less than `length` rows or columns beyond an edge.
__device__ __forceinline__ int mirror(int u, int length) {
    return u < 0 ? -u : u >= length ? 2 * (length - 1) - u : u;
}

template <typename T, bool REFLECT>
__device__ __forceinline__ void pad(const T* image, T* out, int height, int width, int channels,
                                    int padding) {
    int k = blockIdx.x * blockDim.x + threadIdx.x;
    int row = (width + 2 * padding) * channels;
    if (k >= row) return;
    int y = (int)blockIdx.y - padding, x = k / channels - padding;
    y = REFLECT ? mirror(y, height) : clip(y, height);
    x = REFLECT ? mirror(x, width) : clip(x, width);
    out[(long long)blockIdx.y * row + k] =
        image[((long long)y * width + x) * channels + k % channels];
}

// The places first, ..., end - 1 that copy one pixel along one axis.
struct Places {
    int first, end;
};

__device__ __forceinline__ Places places_of(int pixel, int length, int padding) {
    Places places;
    places.first = pixel == 0 ? 0 : pixel + padding;
    places.end = pixel == length - 1 ? length + 2 * padding : pixel + padding + 1;
    return places;
}

template <typename T>
__device__ __forceinline__ void replicate_backward(const T* upstream, T* out, int height,
                                                   int width, int channels, int padding) {
    int k = blockIdx.x * blockDim.x + threadIdx.x;
    int y = blockIdx.y, x = k / channels, channel = k % channels;
    if (x >= width) return;
    Places rows = places_of(y, height, padding), columns = places_of(x, width, padding);
    T sum = 0;
    for (int v = columns.first; v < columns.end; ++v) {
        T column_sum = 0;
        for (int u = rows.first; u < rows.end; ++u)
            column_sum += upstream[((long long)u * (width + 2 * padding) + v) * channels + channel];
        sum += column_sum;
    }
    out[(long long)y * width * channels + k] = sum;
}

// The places that copy one pixel along one axis when the image is mirrored; -1 is none.
struct Mirrored {
    int places[3];
};

__device__ __forceinline__ Mirrored mirrored(int pixel, int length, int padding) {
    Mirrored copies;
    bool before = pixel > 0 && pixel <= padding;
    bool after = pixel < length - 1 && pixel >= length - 1 - padding;
    copies.places[0] = before ? padding - pixel : -1;
    copies.places[1] = padding + pixel;
    copies.places[2] = after ? padding + 2 * (length - 1) - pixel : -1;
    return copies;
}

template <typename T>
__device__ __forceinline__ void reflect_backward(const T* upstream, T* out, int height, int width,
                                                 int channels, int padding) {
    int k = blockIdx.x * blockDim.x + threadIdx.x;
    int y = blockIdx.y, x = k / channels, channel = k % channels;
    if (x >= width) return;
    Mirrored rows = mirrored(y, height, padding), columns = mirrored(x, width, padding);
    T sum = 0;
#pragma unroll
    for (int i = 0; i < 3; ++i)
#pragma unroll
        for (int j = 0; j < 3; ++j) {
            long long u = rows.places[i], v = columns.places[j];
            if (u >= 0 && v >= 0)
                sum += upstream[(u * (width + 2 * padding) + v) * channels + channel];
        }
    out[(long long)y * width * channels + k] = sum;
}

#define KERNELS(T, NAME)                                                                          \
    extern "C" __global__ void replicate_##NAME(const T* __restrict__ image, T* __restrict__ out, \
                                                int height, int width, int channels,              \
                                                int padding) {                                    \
        pad<T, false>(image, out, height, width, channels, padding);                              \
    }                                                                                             \
    extern "C" __global__ void reflect_##NAME(const T* __restrict__ image, T* __restrict__ out,   \
                                              int height, int width, int channels, int padding) { \
        pad<T, true>(image, out, height, width, channels, padding);                               \
    }                                                                                             \
    extern "C" __global__ void replicate_backward_##NAME(const T* __restrict__ upstream,          \
                                                         T* __restrict__ out, int height,         \
                                                         int width, int channels, int padding) {  \
        replicate_backward<T>(upstream, out, height, width, channels, padding);                   \
    }                                                                                             \
    extern "C" __global__ void reflect_backward_##NAME(const T* __restrict__ upstream,            \
                                                       T* __restrict__ out, int height,           \
                                                       int width, int channels, int padding) {    \
        reflect_backward<T>(upstream, out, height, width, channels, padding);                     \
    }

KERNELS(float, float32)
KERNELS(double, float64)
