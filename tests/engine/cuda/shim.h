// The part of CUDA that this project's kernels use, on a CPU, to compare their results with NumPy.
//
// g++ compiles the source of a kernel unchanged. Each thread of a block is a fiber with its own
// stack. Blocks run one after another. Within a block one warp runs after another, each as far as
// its barriers allow, and within a warp one fiber until it reaches a barrier. This makes a run
// repeatable, and stricter than a GPU:
//
// - shared memory is filled with NaN before every block, which shows reads of unwritten values;
// - fibers and blocks can run in reversed order (`reversed`): a missing barrier, or a block that
//   reads what another one wrote, then gives another result;
// - an access outside an array is an error if it reaches the protected page beside the array;
// - a thread that returns while others wait at a barrier is an error;
// - cp.async copies its bytes as late as the waits allow: too weak a wait reads stale memory;
// - the eight rows of an ldmatrix must be in different banks of shared memory;
// - the tensor cores' mma gathers its fragments from the 32 lanes by the layout in the PTX manual.
//
// It cannot show uncoalesced accesses, bank conflicts of plain reads, two warps that race on values
// that happen to agree, a read of the few bytes up to an array's next multiple of 16, or anything
// about time.

#pragma once

#include <setjmp.h>
#include <signal.h>
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline
#define __launch_bounds__(...)
// A section of its own, so that the linker knows where all shared memory begins and ends.
#define __shared__ static __attribute__((section("shared_memory")))

struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(4) uchar4 {
    unsigned char x, y, z, w;
};
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

template <typename T>
inline T __ldg(const T* address) {
    return *address;
}

namespace shim {

struct Index {
    unsigned x, y, z;
};

struct Copy {
    void* to;
    const void* from;
    int bytes;
};

enum State { READY, AT_BARRIER, AT_WARP_BARRIER, DONE };

struct Fiber {
    ucontext_t start;
    jmp_buf resume;
    bool started = false;
    State state = READY;
    Index thread{};
    std::vector<char> stack;
    std::deque<std::vector<Copy>> copies;  // groups of cp.async in flight
    std::vector<Copy> open_group;
};

constexpr int STACK = 1 << 16;
constexpr int LANES = 32;

inline std::vector<Fiber> fibers;
inline int current;
inline int live;
inline jmp_buf scheduler;
inline void (*body)(void*);
inline void* body_argument;

// What the lanes of a warp exchange for an mma.
struct Fragments {
    unsigned a[4], b[2];
};
inline std::vector<Fragments> exchange;
inline std::vector<const unsigned*> rows;
inline bool banks_met;

inline void pause_until(State state) {
    fibers[current].state = state;
    if (!_setjmp(fibers[current].resume)) _longjmp(scheduler, 1);
}

inline void entry() {
    body(body_argument);
    fibers[current].state = DONE;
    _longjmp(scheduler, 1);
}

}  // namespace shim

inline shim::Index threadIdx, blockIdx, blockDim, gridDim;

inline void __syncthreads() { shim::pause_until(shim::AT_BARRIER); }
inline void __syncwarp() { shim::pause_until(shim::AT_WARP_BARRIER); }

// The linker makes these; they are missing (and null) where no kernel uses shared memory.
extern "C" char __start_shared_memory[] __attribute__((weak));
extern "C" char __stop_shared_memory[] __attribute__((weak));

namespace shim {

inline void run_fiber(int index) {
    Fiber& fiber = fibers[index];
    current = index;
    threadIdx = fiber.thread;
    if (_setjmp(scheduler)) return;
    if (fiber.started) _longjmp(fiber.resume, 1);
    fiber.started = true;
    setcontext(&fiber.start);
}

// Runs one warp until all its threads wait for the block or are done. Returns 0 on success, 1 if
// some threads wait for their warp and others have returned or wait for the block.
inline int run_warp(int first, int end, bool reversed) {
    for (;;) {
        int waiting = 0;
        for (int i = first; i < end; ++i) {
            int index = reversed ? end - 1 - (i - first) : i;
            if (fibers[index].state == READY) run_fiber(index);
        }
        for (int i = first; i < end; ++i) waiting += fibers[i].state == AT_WARP_BARRIER;
        if (!waiting) return 0;
        if (waiting != end - first) return 1;
        for (int i = first; i < end; ++i) fibers[i].state = READY;
    }
}

inline int run_block(bool reversed) {
    int count = static_cast<int>(fibers.size());
    if (__start_shared_memory)
        memset(__start_shared_memory, 0xFF, __stop_shared_memory - __start_shared_memory);
    for (int i = 0; i < count; ++i) {
        Fiber& fiber = fibers[i];
        fiber.started = false;
        fiber.state = READY;
        fiber.copies.clear();
        fiber.open_group.clear();
        getcontext(&fiber.start);
        fiber.start.uc_stack.ss_sp = fiber.stack.data();
        fiber.start.uc_stack.ss_size = fiber.stack.size();
        fiber.start.uc_link = nullptr;
        makecontext(&fiber.start, entry, 0);
    }
    int warps = (count + LANES - 1) / LANES;
    for (;;) {
        for (int i = 0; i < warps; ++i) {
            int first = LANES * (reversed ? warps - 1 - i : i);
            if (run_warp(first, first + LANES < count ? first + LANES : count, reversed)) return 1;
        }
        int done = 0;
        for (Fiber& fiber : fibers) done += fiber.state == DONE;
        if (done == count) return 0;
        if (done) return 1;
        for (Fiber& fiber : fibers) fiber.state = READY;  // all are at the barrier
    }
}

template <typename... A, std::size_t... I>
void call(void (*kernel)(A...), void** arguments, std::index_sequence<I...>) {
    kernel(*static_cast<A*>(arguments[I])...);
}

inline sigjmp_buf fault;
inline void on_fault(int) { siglongjmp(fault, 1); }

// While it exists, an access to a protected page ends the launch with an error code.
struct Watch {
    struct sigaction segments, buses;
    Watch() {
        struct sigaction mine = {};
        mine.sa_handler = on_fault;
        sigaction(SIGSEGV, &mine, &segments);
        sigaction(SIGBUS, &mine, &buses);
    }
    ~Watch() {
        sigaction(SIGSEGV, &segments, nullptr);
        sigaction(SIGBUS, &buses, nullptr);
    }
};

inline Index sizes_of(const int* sizes) {
    unsigned width = sizes[0], height = sizes[1], depth = sizes[2];
    return {width, height, depth};
}

inline Index index_of(int number, const int* sizes) {
    unsigned n = number, width = sizes[0], height = sizes[1];
    return {n % width, n / width % height, n / width / height};
}

// Runs a kernel. Returns 0 on success, 1 if a thread returned before a barrier, 2 if memory outside
// an array was accessed, 3 if rows of an ldmatrix were in one bank.
// `arguments` point at the kernel's arguments, in order, as cuLaunchKernel takes them.
template <typename... A>
int launch(void (*kernel)(A...), const int* grid, const int* block, int reversed,
           void** arguments) {
    std::tuple<void (*)(A...), void**> job{kernel, arguments};
    body_argument = &job;
    body = [](void* given) {
        auto& [function, values] = *static_cast<std::tuple<void (*)(A...), void**>*>(given);
        call(function, values, std::index_sequence_for<A...>{});
    };
    int count = block[0] * block[1] * block[2], blocks = grid[0] * grid[1] * grid[2];
    blockDim = sizes_of(block);
    gridDim = sizes_of(grid);
    if (static_cast<int>(fibers.size()) != count) {
        fibers = std::vector<Fiber>(count);
        for (Fiber& fiber : fibers) fiber.stack.resize(STACK);
    }
    exchange.assign(count, Fragments{});
    rows.assign(count, nullptr);
    banks_met = false;
    for (int i = 0; i < count; ++i)
        fibers[i].thread = index_of(i, block);
    Watch watch;
    if (sigsetjmp(fault, 1)) return 2;
    for (int i = 0; i < blocks; ++i) {
        blockIdx = index_of(reversed ? blocks - 1 - i : i, grid);
        if (run_block(reversed)) return 1;
    }
    return banks_met ? 3 : 0;
}

// ------------------------------------------------------------------------- cp.async

inline void copy_async(void* to, const void* from, int bytes) {
    fibers[current].open_group.push_back({to, from, bytes});
}

inline void commit_copies() {
    Fiber& fiber = fibers[current];
    fiber.copies.push_back(std::move(fiber.open_group));
    fiber.open_group.clear();
}

inline void wait_for_copies(int in_flight) {
    Fiber& fiber = fibers[current];
    while (static_cast<int>(fiber.copies.size()) > in_flight) {
        for (const Copy& copy : fiber.copies.front()) memcpy(copy.to, copy.from, copy.bytes);
        fiber.copies.pop_front();
    }
}

// ------------------------------------------------------------------------- number formats

inline unsigned bits_of(float value) {
    unsigned bits;
    memcpy(&bits, &value, 4);
    return bits;
}

inline float float_of(unsigned bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

// cvt.rna.tf32.f32: ten bits of fraction, halves away from zero.
inline unsigned to_tf32(float value) { return (bits_of(value) + 0x1000u) & ~0x1FFFu; }

// cvt.rn.f16.f32: halves to even.
inline unsigned to_half(float value) {
    unsigned sign = bits_of(value) >> 16 & 0x8000u;
    float magnitude = std::fabs(value);
    if (!(magnitude < 65520.0f)) return sign | (std::isnan(value) ? 0x7FFFu : 0x7C00u);
    if (magnitude < 0x1p-14f)  // no leading one: a whole number of 2^-24
        return sign | static_cast<unsigned>(std::nearbyint(magnitude * 0x1p24f));
    unsigned bits = bits_of(magnitude);
    bits += 0xFFFu + (bits >> 13 & 1u);
    return sign | ((bits >> 13) - (112u << 10));
}

inline float from_half(unsigned half) {
    unsigned exponent = half >> 10 & 31u, fraction = half & 1023u;
    float magnitude = exponent == 0    ? fraction * 0x1p-24f
                      : exponent == 31 ? (fraction ? NAN : INFINITY)
                                       : float_of((exponent + 112u) << 23 | fraction << 13);
    return half & 0x8000u ? -magnitude : magnitude;
}

// ------------------------------------------------------------------------- mma.sync
//
// Layout of mma.m16n8k16 (fp16, two per word) and mma.m16n8k8 (tf32, one per word), in words, with
// lane = 4 group + place (PTX manual, "Matrix Fragments for mma.m16n8k16" and "... m16n8k8"):
//
//     A (16 x 8 words):  a0 (group, place)  a1 (group + 8, place)  a2, a3: four words further on
//     B (8 words x 8):   b0 (place, group)  b1 (place + 4, group)
//     C, D (16 x 8):     d0, d1 (group, 2 place + 0, 1)            d2, d3: eight rows further down

// ldmatrix.x4: matrix m is the 8 rows of four words that lanes 8 m to 8 m + 7 point at. Each lane
// gets one word of each matrix, the one at (group, place).
inline void load_matrices(unsigned* d, const unsigned* row) {
    int self = current, lane = self % LANES, warp = self - lane;
    rows[self] = row;
    __syncwarp();
    unsigned taken = 0;  // groups of four banks that the rows of this lane's matrix use, a bit each
    for (int r = 0; r < 8; ++r)
        taken |= 1u << (reinterpret_cast<uintptr_t>(rows[warp + lane / 8 * 8 + r]) / 16 % 8);
    banks_met |= taken != 0xFFu;
    for (int m = 0; m < 4; ++m) d[m] = rows[warp + 8 * m + lane / 4][lane % 4];
    __syncwarp();
}

template <bool HALF>
float dot(unsigned a, unsigned b) {
    if (HALF)
        return from_half(a & 0xFFFFu) * from_half(b & 0xFFFFu) +
               from_half(a >> 16) * from_half(b >> 16);
    return float_of(a & ~0x1FFFu) * float_of(b & ~0x1FFFu);
}

template <bool HALF>
void mma(float* d, const unsigned* a, const unsigned* b) {
    int self = current, lane = self % LANES, warp = self - lane;
    memcpy(exchange[self].a, a, sizeof exchange[self].a);
    memcpy(exchange[self].b, b, sizeof exchange[self].b);
    __syncwarp();
    int group = lane / 4, place = lane % 4;
    for (int r = 0; r < 2; ++r)
        for (int c = 0; c < 2; ++c) {
            int column = 2 * place + c;
            double sum = d[2 * r + c];
            for (int word = 0; word < 8; ++word) {
                const Fragments& left = exchange[warp + 4 * group + word % 4];
                const Fragments& right = exchange[warp + 4 * column + word % 4];
                sum += dot<HALF>(left.a[r + 2 * (word / 4)], right.b[word / 4]);
            }
            d[2 * r + c] = static_cast<float>(sum);
        }
    __syncwarp();
}

}  // namespace shim

namespace shim {

// A kernel's parameters, a letter each: i(nt), l(ong long), f(loat), d(ouble). Those of pointers are
// capital: B(ytes), I(32 bits without sign), F(loat), D(ouble).
template <typename T>
constexpr char letter() {
    using To = std::remove_const_t<std::remove_pointer_t<T>>;
    if (std::is_pointer_v<T> && std::is_same_v<To, float>) return 'F';
    if (std::is_pointer_v<T> && std::is_same_v<To, double>) return 'D';
    if (std::is_pointer_v<T>) return sizeof(To) == 1 ? 'B' : 'I';
    if (std::is_same_v<T, float>) return 'f';
    if (std::is_same_v<T, double>) return 'd';
    return sizeof(T) == 8 ? 'l' : 'i';
}

template <typename... A>
const char* signature(void (*)(A...)) {
    static const char letters[] = {letter<A>()..., 0};
    return letters;
}

}  // namespace shim

// Symbols for ctypes, for each kernel: a function that runs it, and its parameter types.
#define LAUNCHER(kernel)                                                                           \
    extern "C" int launch_##kernel(const int* grid, const int* block, int reversed, void** args) { \
        return shim::launch(&kernel, grid, block, reversed, args);                                 \
    }                                                                                              \
    extern "C" {                                                                                   \
    const char* signature_##kernel = shim::signature(&kernel);                                     \
    }
