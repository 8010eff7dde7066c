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

inline void store(bf16* p, Vector v) {  // to the nearest, ties to even; NaN stays NaN
  Ints bits = (Ints)v;
  bits = (v == v) ? (bits + 0x7fff + ((bits >> 16) & 1)) >> 16 : (Ints{} + 0x7fc0);
  *reinterpret_cast<LooseShorts*>(p) = __builtin_convertvector(bits, LooseShorts);
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

// The sums of LANES vectors that lie one after the other, each in its lane.
inline Vector sums(const float* vectors) {
  Vector v[LANES];
#pragma GCC unroll 16
  for (int i = 0; i < LANES; i++) v[i] = load(vectors + i * LANES);
#pragma GCC unroll 4
  for (int step = 1; step < LANES; step *= 2) {
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i += 2 * step) {
      Vector a = v[i], b = v[i + step];
      Vector kept = (LANE & step) != 0 ? b : a, crossed = (LANE & step) != 0 ? a : b;
      v[i] = kept + __builtin_shuffle(crossed, LANE ^ step);
    }
  }
  return v[0];
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
