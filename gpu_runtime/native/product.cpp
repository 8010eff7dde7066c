// Products of rows with a matrix of eight-bit whole numbers, which has a scale for each output.
//
// Each row gets a scale of its own and becomes whole numbers of 16 bits, as large as an output's sum can hold without overflow
// (`most`, which whoever packs the matrix finds out). Sums are therefore exact, in any order: a row's result is the same to
// the bit alone and in company, with any number of threads, and by every body of this code.
//
// The matrix lies in panels of 16 outputs. For each two inputs a panel has the two numbers of each output side by side.
#include <immintrin.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "panels.h"

extern "C" {  // mirrored in library.py
struct Product {  // Multiplication there
  const void* x;         // [rows, inputs], float32 or bfloat16
  const int8_t* panels;  // [panels, inputs / 2, 16, 2], filled up with zeros
  const float* scales;   // [panels * 16]
  const float* bias;     // likewise, or null
  void* out;             // [rows, outputs], of the type of x
  int16_t* steps;        // scratch: [rows, inputs], filled up to pairs
  float* row_scales;     // scratch: [rows]
  int64_t row_stride;    // of x, in elements
  int32_t rows, inputs, outputs, most, is_bf16, threads;
};
}

namespace {

constexpr float LEAST = 1e-30f;             // a row of smaller numbers is zero
constexpr int64_t BLOCK_BYTES = 192 << 10;  // of rows, which stay in a core's cache while panels pass

typedef int16_t Shorts __attribute__((vector_size(4 * LANES)));
typedef int8_t LooseBytes __attribute__((vector_size(2 * LANES), aligned(1), may_alias));

inline Shorts widen(const int8_t* p) {
#if LANES == 8
  return (Shorts)_mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#elif defined(__AVX512BW__)
  return (Shorts)_mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#else
  return __builtin_convertvector(*reinterpret_cast<const LooseBytes*>(p), Shorts);
#endif
}

inline Shorts spread(const int16_t* pair) {  // the same two numbers for each output
  int32_t both;
  std::memcpy(&both, pair, sizeof both);
  return (Shorts)(Ints{} + both);
}

// sums[i] + a[2 i] b[2 i] + a[2 i + 1] b[2 i + 1]
inline Ints add_products(Ints sums, Shorts a, Shorts b) {
#if LANES == 8
  return sums + (Ints)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif defined(__AVX512VNNI__)
  return (Ints)_mm512_dpwssd_epi32((__m512i)sums, (__m512i)a, (__m512i)b);
#else
  return sums + (((Ints)a << 16) >> 16) * (((Ints)b << 16) >> 16) + ((Ints)a >> 16) * ((Ints)b >> 16);
#endif
}

inline Ints nearest(Vector v) {  // ties to even
#if LANES == 8
  return (Ints)_mm256_cvtps_epi32((__m256)v);
#elif defined(__AVX512F__)
  return (Ints)_mm512_cvtps_epi32((__m512)v);
#else
  Ints made;
  for (int i = 0; i < LANES; i++) made[i] = _mm_cvtss_si32(_mm_set_ss(v[i]));
  return made;
#endif
}

inline int64_t pairs(const Product& p) { return (p.inputs + 1) / 2; }

template <typename T>
void quantise(const Product& p, int row) {
  const T* x = static_cast<const T*>(p.x) + row * p.row_stride;
  int16_t* steps = p.steps + row * pairs(p) * 2;
  const int whole = p.inputs / LANES * LANES;
  T rest[LANES] = {};
  std::copy(x + whole, x + p.inputs, rest);
  Ints tops = (Ints)load(rest) & 0x7fffffff;  // as whole numbers absolute values have their order, and NaN is above all
  for (int k = 0; k < whole; k += LANES) {
    Ints size = (Ints)load(x + k) & 0x7fffffff;
    tops = size > tops ? size : tops;
  }
  int32_t most = 0;
  for (int i = 0; i < LANES; i++) most = std::max<int32_t>(most, tops[i]);
  float top;
  std::memcpy(&top, &most, sizeof top);
  p.row_scales[row] = top / p.most;
  const float factor = top >= LEAST && top < INFINITY ? p.most / top : 0.f;
  for (int k = 0; k < whole; k += LANES)
    *reinterpret_cast<LooseShorts*>(steps + k) = __builtin_convertvector(nearest(load(x + k) * factor), LooseShorts);
  const Ints last = nearest(load(rest) * factor);
  for (int k = whole; k < pairs(p) * 2; k++) steps[k] = int16_t(last[k - whole]);
}

template <typename T>
void finish(const Product& p, int row, int panel, const Ints* sums) {
  alignas(64) T made[PANEL];
  for (int part = 0; part < PARTS; part++) {
    const int first = panel * PANEL + part * LANES;
    Vector v = __builtin_convertvector(sums[part], Vector) * (p.row_scales[row] * load(p.scales + first));
    if (p.bias) v += load(p.bias + first);
    store(made + part * LANES, v);
  }
  const int from = panel * PANEL, count = std::min(PANEL, p.outputs - from);
  std::memcpy(static_cast<T*>(p.out) + int64_t(row) * p.outputs + from, made, count * sizeof(T));
}

template <int R>
inline void add_pair(const int8_t* weights, const int16_t* steps, int64_t stride, Ints (*sums)[PARTS]) {
  Shorts w[PARTS];
  for (int part = 0; part < PARTS; part++) w[part] = widen(weights + part * 2 * LANES);
  for (int r = 0; r < R; r++) {
    Shorts x = spread(steps + r * stride);
    for (int part = 0; part < PARTS; part++) sums[r][part] = add_products(sums[r][part], w[part], x);
  }
}

template <typename T, int R>
void multiply(const Product& p, int row, int panel) {
  constexpr int CHAINS = PARTS == 1 && R <= 3 ? 4 : 1;  // few sums would wait for each other
  const int64_t count = pairs(p), stride = count * 2, whole = count / CHAINS * CHAINS;
  const int8_t* weights = p.panels + panel * count * 2 * PANEL;
  const int16_t* steps = p.steps + row * stride;
  Ints sums[CHAINS][R][PARTS] = {};
  for (int64_t pair = 0; pair < whole; pair += CHAINS)
    for (int chain = 0; chain < CHAINS; chain++)
      add_pair<R>(weights + (pair + chain) * 2 * PANEL, steps + (pair + chain) * 2, stride, sums[chain]);
  for (int64_t pair = whole; pair < count; pair++)
    add_pair<R>(weights + pair * 2 * PANEL, steps + pair * 2, stride, sums[0]);
  for (int r = 0; r < R; r++) {
    for (int chain = 1; chain < CHAINS; chain++)
      for (int part = 0; part < PARTS; part++) sums[0][r][part] += sums[chain][r][part];
    finish<T>(p, row + r, panel, sums[0][r]);
  }
}

template <typename T>
using Multiply = void (*)(const Product&, int, int);

template <typename T>
constexpr Multiply<T> BY_ROWS[] = {
    nullptr,        multiply<T, 1>, multiply<T, 2>, multiply<T, 3>, multiply<T, 4>, multiply<T, 5>, multiply<T, 6>,
#if LANES == 16
    multiply<T, 7>, multiply<T, 8>, multiply<T, 9>, multiply<T, 10>, multiply<T, 11>, multiply<T, 12>,
#endif
};

template <typename T>
void compute(const Product& p) {
  const int panels = (p.outputs + PANEL - 1) / PANEL;
  const int64_t fitting = BLOCK_BYTES / (pairs(p) * 4);
  const int most = int(std::clamp<int64_t>(fitting, ROWS, 1 << 20)), blocks = (p.rows + most - 1) / most;
  const int shares = std::min(panels, p.threads > 1 ? p.threads * TASKS : 1);
#pragma omp parallel num_threads(p.threads) if (p.threads > 1)
  {
#pragma omp for schedule(static)
    for (int row = 0; row < p.rows; row++) quantise<T>(p, row);
#pragma omp for schedule(dynamic, 1)
    for (int task = 0; task < blocks * shares; task++) {
      const int64_t block = task / shares, share = task % shares;
      const int first = int(p.rows * block / blocks), last = int(p.rows * (block + 1) / blocks);
      const int groups = (last - first + ROWS - 1) / ROWS;
      for (int panel = int(panels * share / shares); panel < int(panels * (share + 1) / shares); panel++)
        for (int group = 0; group < groups; group++) {
          const int row = first + (last - first) * group / groups, next = first + (last - first) * (group + 1) / groups;
          BY_ROWS<T>[next - row](p, row, panel);
        }
    }
  }
}

}  // namespace

extern "C" __attribute__((visibility("default"))) void thespis_multiply(const Product* p) {
  if (p->is_bf16)
    compute<bf16>(*p);
  else
    compute<float>(*p);
}
