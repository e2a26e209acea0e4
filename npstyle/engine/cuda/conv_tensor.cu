// Convolution with 3x3 filters, stride 1, padding 1, on tensor cores (sm_80 and later).
// NumPy twin: npstyle/maths/conv.py (conv2d, conv2d_backward), with operands rounded to tf32 (10
// bits of fraction, float32's range) or fp16 (10 bits, up to 65504) and sums in float32.
//
//     Z[y, x, n] = b[n] + sum_{i,j,k} X[y + i - 1, x + j - 1, k] K[i, j, k, n]
//
// The derivative with respect to the image is the same sum with the kernel flipped and its channels
// swapped. So the same CUDA kernel computes it, with filters that `pack_filters_*` has flipped. It
// reads dL/dF with the ReLU mask F > 0 (bytes, or null: no ReLU). With `pooling` > 1 it reads dL/dY
// of an average pooling of that size and stride, and takes the pooling's derivative on the way.
//
// Method. A block computes 8 x 16 positions times 64 or 128 channels. It loops over the input's
// channels in chunks of 16 words (a word: one tf32 or two fp16, the only difference between the
// two). For each chunk it keeps one copy of the 10 x 18 positions under its tile in shared memory,
// the patch, for all nine taps. A stage is one tap of one chunk: its filters, 16 words x channels,
// arrive by cp.async two stages ahead in a ring of three. During the nine stages of a chunk, each
// thread fetches a few pieces of the next chunk's patch: it loads them before the products of a
// stage, and rounds and stores them after.
//
// A warp computes 4 rows of 16 positions times 32 channels by mma.m16n8k8 (tf32) or m16n8k16
// (fp16). A row of 16 positions is the M of the mma, so a tap only shifts the address of A.
//
// Banks. Fragments are read by ldmatrix, 8 rows of 4 words at a time; rows (positions, columns of
// the filters) are 16 words long. Quarter q of row r is stored in place q ^ (r / 2 % 4), so any 8
// consecutive rows use all 32 banks.
//
// Few positions and many channels would leave multiprocessors idle. Then gridDim.z blocks share the
// chunks of a tile. Each writes its partial sum to `out` + z height width columns, without bias and
// ReLU, and `combine_splits` adds these in a fixed order.
//
// Range of fp16. Values are multiplied by `in_scale` before they are rounded, and the sums divided
// by it; with a power of two that is exact. `scale.cu` computes the one that brings the largest
// value of an array to 2^10..2^11: values down to 2^-25 of that keep all their bits. It stays on
// the GPU, so the host does not wait for it. `out_scale` does the same for filters that were
// multiplied by a power of two before they were packed. For tf32 they are null and 1.
//
// Layout: images (height, width, channels), float32; packed filters (9, chunks, columns, 16), 32
// bits, with zeros up to a whole number of chunks and of the block's columns. Arrays begin at
// multiples of 16 bytes.
// Launch: `tensor_conv(...)`: grid (tiles, blocks of columns, splits), 2 threads per column.
// Below sm_80 these instructions do not exist (sm_70 and 75 have fp16 mma of another shape and no
// cp.async). There the kernels trap, and the engine uses winograd.cu instead.

#define TILE_HEIGHT 8
#define TILE_WIDTH 16
#define PATCH_WIDTH (TILE_WIDTH + 2)
#define PATCH ((TILE_HEIGHT + 2) * PATCH_WIDTH)
#define CHUNK 16  // words
#define TAPS 9
#define RING 3

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
#define TENSOR_CORES 1
#endif

#ifdef __CUDACC__
#ifdef TENSOR_CORES

__device__ __forceinline__ void copy_async(void* to, const void* from) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(
                     (unsigned)__cvta_generic_to_shared(to)),
                 "l"(from)
                 : "memory");
}
__device__ __forceinline__ void load_matrices(unsigned* d, const unsigned* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
                 : "r"((unsigned)__cvta_generic_to_shared(row))
                 : "memory");
}
__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;"); }
__device__ __forceinline__ void wait_for_all_copies_but_one() {
    asm volatile("cp.async.wait_group 1;" ::: "memory");
}
__device__ __forceinline__ unsigned to_tf32(float value) {
    unsigned word;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(word) : "f"(value));
    return word;
}
__device__ __forceinline__ unsigned to_halves(float low, float high) {
    unsigned word;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
    return word;
}

template <bool HALF>
__device__ __forceinline__ void mma(float* d, const unsigned* a, const unsigned* b) {
#define MMA(SHAPE_AND_TYPES)                                            \
    asm("mma.sync.aligned." SHAPE_AND_TYPES                             \
        " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"        \
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                \
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))
    if (HALF)
        MMA("m16n8k16.row.col.f32.f16.f16.f32");
    else
        MMA("m16n8k8.row.col.f32.tf32.tf32.f32");
}

#endif
#else  // a C++ compiler with the tests' shim

inline void copy_async(void* to, const void* from) { shim::copy_async(to, from, 16); }
inline void load_matrices(unsigned* d, const unsigned* row) { shim::load_matrices(d, row); }
inline void commit_copies() { shim::commit_copies(); }
inline void wait_for_all_copies_but_one() { shim::wait_for_copies(1); }
inline unsigned to_tf32(float value) { return shim::to_tf32(value); }
inline unsigned to_halves(float low, float high) {
    return shim::to_half(low) | shim::to_half(high) << 16;
}
template <bool HALF>
inline void mma(float* d, const unsigned* a, const unsigned* b) {
    shim::mma<HALF>(d, a, b);
}

#endif

#ifdef TENSOR_CORES

struct Arguments {
    const float* image;
    const unsigned* packed;
    const float* bias;
    const unsigned char* mask;
    float* out;
    int height, width, channels, columns, words, packed_columns, pooling, rectify;
    float in_scale, out_scale;
};

template <int COLUMNS>
struct Shared {
    alignas(16) unsigned patch[2][PATCH * CHUNK];
    alignas(16) unsigned filters[RING][CHUNK * COLUMNS];
};

// Index in the row of the first of the four words of a quarter, see "Banks".
__device__ __forceinline__ int bank_word(int quarter, int row) {
    return 4 * (quarter ^ (row / 2 % 4));
}

// A piece of a patch in registers: four words of one position before rounding.
template <bool HALF>
struct Piece {
    static const int VALUES = HALF ? 8 : 4;
    float values[VALUES];
    unsigned masks[VALUES / 4];  // four bytes each, 0 where F <= 0
};

template <bool HALF>
__device__ __forceinline__ void load_piece(Piece<HALF>& piece, const Arguments& arguments,
                                           int index, int chunk, int top, int left) {
    const int VALUES = Piece<HALF>::VALUES;
    int position = index / 4;
    int y = top + position / PATCH_WIDTH, x = left + position % PATCH_WIDTH;
    int channel = (chunk * 4 + index % 4) * VALUES, channels = arguments.channels;
    bool inside = y >= 0 && x >= 0 && y < arguments.height && x < arguments.width;
    long long mask_at = ((long long)y * arguments.width + x) * channels + channel;
    int source_width = arguments.width;
    if (arguments.pooling > 1) {
        y /= arguments.pooling, x /= arguments.pooling;
        source_width /= arguments.pooling;
        inside = inside && y < arguments.height / arguments.pooling && x < source_width;
    }
    const float* from =
        arguments.image + ((long long)y * source_width + x) * channels + channel;
    bool whole = channels % 4 == 0;
#pragma unroll
    for (int four = 0; four < VALUES / 4; ++four) {
        float* values = piece.values + 4 * four;
        int available = inside ? channels - channel - 4 * four : 0;
        piece.masks[four] = 0x01010101u;
        values[0] = values[1] = values[2] = values[3] = 0.0f;
        if (available <= 0) continue;
        if (whole) {
            float4 read = *reinterpret_cast<const float4*>(from + 4 * four);
            values[0] = read.x, values[1] = read.y, values[2] = read.z, values[3] = read.w;
            if (arguments.mask)
                piece.masks[four] =
                    *reinterpret_cast<const unsigned*>(arguments.mask + mask_at + 4 * four);
            continue;
        }
#pragma unroll
        for (int k = 0; k < 4; ++k)
            if (k < available) {
                values[k] = from[4 * four + k];
                if (arguments.mask && !arguments.mask[mask_at + 4 * four + k]) values[k] = 0.0f;
            }
    }
}

template <bool HALF>
__device__ __forceinline__ void store_piece(unsigned* patch, const Piece<HALF>& piece, int index,
                                            float scale) {
    const int VALUES = Piece<HALF>::VALUES;
    float values[VALUES];
#pragma unroll
    for (int k = 0; k < VALUES; ++k)
        values[k] = piece.masks[k / 4] >> 8 * (k % 4) & 0xFFu ? piece.values[k] * scale : 0.0f;
    unsigned words[4];
#pragma unroll
    for (int w = 0; w < 4; ++w)
        words[w] = HALF ? to_halves(values[2 * w % VALUES], values[(2 * w + 1) % VALUES])
                        : to_tf32(values[w]);
    int position = index / 4, word = bank_word(index % 4, position % PATCH_WIDTH);
    *reinterpret_cast<uint4*>(patch + position * CHUNK + word) =
        make_uint4(words[0], words[1], words[2], words[3]);
}

// One tap of one chunk: 4 x 4 mma, two deep. `patch` begins at the warp's first row, `filters` at
// its first column. Each lane gives the address of one of the 4 x 8 rows of four words that an
// ldmatrix loads: for A 8 positions, the next 8, and both again four words later; for B 8 columns,
// the same four words later, and both again for the next 8 columns.
template <bool HALF>
__device__ __forceinline__ void multiply(float (&sums)[4][4][4], const unsigned* patch,
                                         const unsigned* filters, int tap) {
    int row = threadIdx.x % 8, matrix = threadIdx.x / 8 % 4;
    int x = row + matrix % 2 * 8 + tap % 3, column = row + matrix / 2 * 8;
    patch += (tap / 3 * PATCH_WIDTH + x) * CHUNK;
    filters += column * CHUNK;
    int word_a = bank_word(matrix / 2, x), word_b = bank_word(matrix % 2, column);
#pragma unroll
    for (int step = 0; step < 2; ++step) {
        unsigned a[4][4], b[2][4];
#pragma unroll
        for (int y = 0; y < 4; ++y)
            load_matrices(a[y], patch + y * PATCH_WIDTH * CHUNK + (word_a ^ (8 * step)));
#pragma unroll
        for (int pair = 0; pair < 2; ++pair)
            load_matrices(b[pair], filters + 16 * pair * CHUNK + (word_b ^ (8 * step)));
#pragma unroll
        for (int y = 0; y < 4; ++y)
#pragma unroll
            for (int eight = 0; eight < 4; ++eight)
                mma<HALF>(sums[y][eight], a[y], b[eight / 2] + eight % 2 * 2);
    }
}

// A thread's sums are pairs of neighbouring channels; pairs are written at once where aligned.
__device__ __forceinline__ void write_sums(float (&sums)[4][4][4], const Arguments& arguments,
                                           int top, int left, int first_column) {
    bool whole = gridDim.z == 1, pairs = arguments.columns % 2 == 0;
    bool rectify = whole && arguments.rectify;
    long long part = (long long)arguments.height * arguments.width * arguments.columns;
    float* out = arguments.out + blockIdx.z * part;
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int eight = 0; eight < 4; ++eight) {
        int column = first_column + 8 * eight + lane % 4 * 2;
        if (column >= arguments.columns) continue;
        bool second = column + 1 < arguments.columns;
        const float* bias = whole ? arguments.bias : nullptr;
        float added[2] = {bias ? bias[column] : 0.0f, bias && second ? bias[column + 1] : 0.0f};
#pragma unroll
        for (int row = 0; row < 4; ++row)
#pragma unroll
            for (int r = 0; r < 2; ++r) {
                int y = top + row, x = left + lane / 4 + 8 * r;
                if (y >= arguments.height || x >= arguments.width) continue;
                long long at = ((long long)y * arguments.width + x) * arguments.columns + column;
                float z0 = sums[row][eight][2 * r] * arguments.out_scale + added[0];
                float z1 = sums[row][eight][2 * r + 1] * arguments.out_scale + added[1];
                if (rectify && z0 < 0.0f) z0 = 0.0f;
                if (rectify && z1 < 0.0f) z1 = 0.0f;
                if (pairs) {
                    *reinterpret_cast<float2*>(out + at) = make_float2(z0, z1);
                } else {
                    out[at] = z0;
                    if (second) out[at + 1] = z1;
                }
            }
    }
}

template <bool HALF, int COLUMNS>
__device__ __forceinline__ void convolve(Shared<COLUMNS>& shared, const Arguments& arguments) {
    const int THREADS = 2 * COLUMNS, PIECES = PATCH * 4;
    int across = (arguments.width + TILE_WIDTH - 1) / TILE_WIDTH;
    int tile_y = blockIdx.x / across * TILE_HEIGHT, tile_x = blockIdx.x % across * TILE_WIDTH;
    int block_column = blockIdx.y * COLUMNS;
    int warp = threadIdx.x / 32, warp_row = warp % 2 * 4, warp_column = warp / 2 * 32;

    int chunks = arguments.words / CHUNK, each = (chunks + gridDim.z - 1) / gridDim.z;
    int first = blockIdx.z * each, end = first + each < chunks ? first + each : chunks;
    int stages = (end - first) * TAPS;

    auto fetch_filters = [&](int stage) {
        if (stage < stages) {
            int chunk = first + stage / TAPS, tap = stage % TAPS;
            const unsigned* from =
                arguments.packed +
                ((tap * chunks + chunk) * (long long)arguments.packed_columns + block_column) *
                    CHUNK;
#pragma unroll
            for (int copy = 0; copy < 4 * COLUMNS / THREADS; ++copy) {
                int index = threadIdx.x + copy * THREADS;
                int column = index / 4, word = bank_word(index % 4, column);
                copy_async(shared.filters[stage % RING] + column * CHUNK + word, from + 4 * index);
            }
        }
        commit_copies();  // even if nothing is left, so that the count of groups stays right
    };

    fetch_filters(0);
    fetch_filters(1);
    Piece<HALF> piece;
    for (int index = threadIdx.x; index < PIECES; index += THREADS) {
        load_piece<HALF>(piece, arguments, index, first, tile_y - 1, tile_x - 1);
        store_piece<HALF>(shared.patch[0], piece, index, arguments.in_scale);
    }

    float sums[4][4][4] = {};
    int half = 0;
    for (int chunk = first; chunk < end; ++chunk, half ^= 1)
        for (int tap = 0; tap < TAPS; ++tap) {
            int stage = (chunk - first) * TAPS + tap;
            wait_for_all_copies_but_one();
            __syncthreads();  // this stage's filters have arrived, the last stage's are read
            fetch_filters(stage + 2);
            int index = tap * THREADS + threadIdx.x;
            bool next = chunk + 1 < end && index < PIECES;
            if (next)
                load_piece<HALF>(piece, arguments, index, chunk + 1, tile_y - 1, tile_x - 1);
            multiply<HALF>(sums, shared.patch[half] + warp_row * PATCH_WIDTH * CHUNK,
                           shared.filters[stage % RING] + warp_column * CHUNK, tap);
            if (next) store_piece<HALF>(shared.patch[half ^ 1], piece, index, arguments.in_scale);
        }

    write_sums(sums, arguments, tile_y + warp_row, tile_x, block_column + warp_column);
}

#define ON_TENSOR_CORES(...) __VA_ARGS__
#else
#define ON_TENSOR_CORES(...) asm("trap;");
#endif

#define CONVOLUTION(NAME, HALF, COLUMNS)                                                          \
    extern "C" __global__ void __launch_bounds__(2 * COLUMNS, 256 / COLUMNS)                      \
        NAME(const float* __restrict__ image, const unsigned* __restrict__ packed,                \
             const float* __restrict__ bias, const unsigned char* __restrict__ mask,              \
             float* __restrict__ out, int height, int width, int channels, int columns,           \
             int words, int packed_columns, int pooling, int rectify,                             \
             const float* __restrict__ in_scale, float out_scale) {                               \
        ON_TENSOR_CORES(__shared__ Shared<COLUMNS> shared;                                        \
            float scale = in_scale ? *in_scale : 1.0f; Arguments arguments{                       \
            image, packed, bias, mask, out, height, width, channels, columns, words,              \
            packed_columns, pooling, rectify, scale,                                              \
            out_scale / (scale * float(pooling * pooling))};                                      \
            convolve<HALF, COLUMNS>(shared, arguments);)                                          \
    }

CONVOLUTION(conv3x3_tf32_64, false, 64)
CONVOLUTION(conv3x3_tf32_128, false, 128)
CONVOLUTION(conv3x3_fp16_64, true, 64)
CONVOLUTION(conv3x3_fp16_128, true, 128)

// packed[tap, word / 16, n, word % 16] = K[tap, k, n] or, flipped, K[8 - tap, n, k]; a word is
// k = word (tf32) or 2 word and 2 word + 1 (fp16). One thread per word,
// `elementwise(9 * words * columns)`.
__device__ __forceinline__ float filter_value(const float* kernel, int tap, int k, int n,
                                              int channels, int filters, int flipped) {
    if (k >= (flipped ? filters : channels) || n >= (flipped ? channels : filters)) return 0.0f;
    return flipped ? kernel[((long long)(TAPS - 1 - tap) * channels + n) * filters + k]
                  : kernel[((long long)tap * channels + k) * filters + n];
}

#define PACKING(NAME, WORD)                                                                       \
    extern "C" __global__ void NAME(const float* __restrict__ kernel,                             \
                                    unsigned* __restrict__ packed, int channels, int filters,     \
                                    int words, int packed_columns, int flipped) {                  \
        ON_TENSOR_CORES(                                                                          \
            int index = blockIdx.x * blockDim.x + threadIdx.x;                                    \
            if (index >= TAPS * words * packed_columns) return;                                   \
            int n = index / CHUNK % packed_columns;                                               \
            int chunk = index / CHUNK / packed_columns % (words / CHUNK);                         \
            int word = chunk * CHUNK + index % CHUNK, tap = index / packed_columns / words;       \
            auto value = [&](int k) {                                                             \
                return filter_value(kernel, tap, k, n, channels, filters, flipped);                \
            };                                                                                    \
            packed[index] = WORD;)                                                                \
    }

PACKING(pack_filters_tf32, to_tf32(value(word)))
PACKING(pack_filters_fp16, to_halves(value(2 * word), value(2 * word + 1)))

// out = sum of the parts, in order, + bias, rectified. One thread per value, `elementwise(count)`.
extern "C" __global__ void combine_splits(const float* __restrict__ parts,
                                          const float* __restrict__ bias, float* __restrict__ out,
                                          int splits, long long count, int columns, int rectify) {
    long long k = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (k >= count) return;
    float z = 0.0f;
    for (int split = 0; split < splits; ++split) z += parts[split * count + k];
    if (bias) z += bias[k % columns];
    if (rectify && z < 0.0f) z = 0.0f;
    out[k] = z;
}
