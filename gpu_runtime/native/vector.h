// Vectors of LANES floats in GCC's own vector types: one source becomes AVX2 or AVX-512 code by the compiler's flags.
#pragma once
#include <immintrin.h>

#include <cstdint>

#ifndef LANES
#ifdef __AVX512F__
#define LANES 16
#else
#define LANES 8
#endif
#endif

namespace {

typedef float Vector __attribute__((vector_size(4 * LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * LANES)));
typedef float Four __attribute__((vector_size(16)));
typedef int32_t FourInts __attribute__((vector_size(16)));
typedef int32_t LooseInts __attribute__((vector_size(4 * LANES), aligned(2), may_alias));
typedef float LooseVector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint16_t LooseShorts __attribute__((vector_size(2 * LANES), aligned(2), may_alias));

struct bf16 {
  uint16_t bits;
};

#if LANES == 16
constexpr Ints LANE = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
#else
constexpr Ints LANE = {0, 1, 2, 3, 4, 5, 6, 7};
#endif

inline Vector splat(float x) { return x - Vector{}; }

inline Vector load(const float* p) { return *reinterpret_cast<const LooseVector*>(p); }

inline Vector load(const bf16* p) {  // by name: of its own vectors' conversion GCC 12 makes twice the instructions
#if LANES == 8
  return (Vector)((Ints)_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))) << 16);
#elif defined(__AVX512F__)
  return (Vector)((Ints)_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))) << 16);
#else
  return (Vector)(__builtin_convertvector(*reinterpret_cast<const LooseShorts*>(p), Ints) << 16);
#endif
}

inline void store(float* p, Vector v) { *reinterpret_cast<LooseVector*>(p) = v; }

inline Ints rounded(Vector v) {  // bits of which the upper half is a bfloat16: the nearest, ties to even; NaN stays NaN
  Ints bits = (Ints)v;
  return (v == v) ? bits + 0x7fff + ((bits >> 16) & 1) : (Ints{} + 0x7fc00000);
}

inline void store(bf16* p, Vector v) {
  *reinterpret_cast<LooseShorts*>(p) = __builtin_convertvector(rounded(v) >> 16, LooseShorts);
}

// One of the two vectors of 2 * LANES numbers: of floats those that come first or last, of bfloat16 those at even or odd
// places, which takes no shuffling. Where only products are summed the order does not matter; `store_halves` restores it.
inline Vector load_half(const float* p, int half) { return load(p + half * LANES); }

inline Vector load_half(const bf16* p, int half) {
  const Ints pairs = *reinterpret_cast<const LooseInts*>(p);
  return (Vector)(half == 0 ? pairs << 16 : pairs & -65536);
}

inline void store_halves(float* p, Vector first, Vector second) {
  store(p, first);
  store(p + LANES, second);
}

inline void store_halves(bf16* p, Vector first, Vector second) {
  *reinterpret_cast<LooseInts*>(p) = ((rounded(first) >> 16) & 0xffff) | (rounded(second) & -65536);
}

inline Vector larger(Vector a, Vector b) { return a > b ? a : b; }

inline float largest(Vector v) {
#pragma GCC unroll 4
  for (int step = LANES / 2; step > 0; step /= 2) v = larger(v, __builtin_shuffle(v, LANE ^ step));
  return v[0];
}

inline float sum(Vector v) {
#pragma GCC unroll 4
  for (int step = LANES / 2; step > 0; step /= 2) v += __builtin_shuffle(v, LANE ^ step);
  return v[0];
}

inline bool any(Ints conditions) {
#if LANES == 8
  return _mm256_movemask_ps((__m256)conditions) != 0;
#elif defined(__AVX512F__)
  return _mm512_movepi32_mask((__m512i)conditions) != 0;
#else
  return largest(conditions ? splat(1.f) : Vector{}) != 0;
#endif
}

inline void store(float* p, Four v) { __builtin_memcpy(p, &v, sizeof v); }

// Numbers that were stored by fours a moment ago: as one load they would have to wait for the cache.
inline Vector load_fours(const float* p) {
#if LANES == 8
  return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), _mm_loadu_ps(p + 4), 1);
#else
  return load(p);
#endif
}

// The sums of four vectors, each in its lane.
inline Four sums(Vector a, Vector b, Vector c, Vector d) {
  const Ints within = LANE & 3, quad = LANE - within, other = within >> 1;  // of four lanes the first two are of a, then of b
  const Ints kept = LANE + other * LANES, crossed = (LANE ^ 2) + other * LANES;
  const Vector ab = __builtin_shuffle(a, b, kept) + __builtin_shuffle(a, b, crossed);
  const Vector cd = __builtin_shuffle(c, d, kept) + __builtin_shuffle(c, d, crossed);
  const Ints even = quad + (within & 1) * 2 + other * LANES;
  const Vector all = __builtin_shuffle(ab, cd, even) + __builtin_shuffle(ab, cd, even + 1);
#if LANES == 8
  return _mm256_castps256_ps128(all) + _mm256_extractf128_ps(all, 1);
#else
  Four fours[LANES / 4];
  __builtin_memcpy(fours, &all, sizeof all);
  return (fours[0] + fours[1]) + (fours[2] + fours[3]);
#endif
}

// Once loaded, it stays in its register: GCC would rather load it again at each use.
inline void keep(Vector& v) {
#if LANES == 8 || defined(__AVX512F__)
  asm("" : "+v"(v));
#else
  (void)v;
#endif
}

// R numbers that lie `apart`, each times the V vectors of one row: what a product keeps in registers.
template <int R, int V, typename T>
inline void add_products(const float* numbers, int64_t apart, const T* row, Vector (&sums)[R][V]) {
  Vector across[V];
#pragma GCC unroll 4
  for (int v = 0; v < V; v++) across[v] = load(row + v * LANES);
#pragma GCC unroll 12
  for (int r = 0; r < R; r++) {
    const Vector number = splat(numbers[r * apart]);
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) sums[r][v] += across[v] * number;
  }
}

// 2^x for x <= 126, to float32's precision; 2^-126 for what is less; NaN for NaN.
inline Vector exp2(Vector x) {
  const float magic = 12582912.f;  // 1.5 * 2^23: adding it rounds to a whole number
  x = x < -126.f ? splat(-126.f) : x;
  Vector whole = (x + magic) - magic, part = x - whole;
  Vector p = splat(1.535336188319500e-4f);
  p = p * part + 1.339887440266574e-3f;
  p = p * part + 9.618437357674640e-3f;
  p = p * part + 5.550332471162809e-2f;
  p = p * part + 2.402264791363012e-1f;
  p = p * part + 6.931472028550421e-1f;
  p = p * part + 1.0f;
  return p * (Vector)((__builtin_convertvector(whole, Ints) + 127) << 23);
}

inline Vector tanh(Vector x) {  // to 1e-7 of 1
  Vector y = x * 2.885390081777927f;
  y = y > 60.f ? splat(60.f) : y;
  return 1.f - 2.f / (exp2(y) + 1.f);
}

}  // namespace
