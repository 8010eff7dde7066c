// Products of float32 rows with a matrix that is held in the narrowest type which its numbers fit exactly. A product of few
// rows takes the time of reading the matrix: what is stored in 16 bits is read in half of it, and widened in registers.
//
// Each output is summed input by input, in their order, and stretch by stretch: a row's result is the same to the bit alone and
// in company, with any number of threads.
//
// The matrix lies in panels of 16 outputs, in each of them input by input; of bfloat16 output i beside output i + 8: a shift
// and a mask make two vectors of floats of one of such pairs.
#include <immintrin.h>
#include <omp.h>

#include <algorithm>
#include <cstring>

#include "panels.h"

extern "C" {  // mirrored in library.py
struct FloatProduct {
  const float* x;      // [rows, inputs]
  const void* panels;  // [panels, inputs, 16], filled up with zeros; of bfloat16 [panels, inputs, 8, 2]
  const float* bias;   // [panels * 16], or null
  float* out;          // [rows, outputs]
  int64_t row_stride;  // of x, in elements
  int32_t rows, inputs, outputs, type, threads;
};
}

namespace {

enum Type { FLOAT32, BFLOAT16, FLOAT16 };  // in the order of float_product.py

constexpr int SUMS = LANES == 16 ? 24 : 12;   // vectors that registers hold beside what is multiplied
constexpr int FEW = SUMS / (ROWS * PARTS);    // panels beside so many rows
constexpr int SIDE_BY_SIDE = 4;               // panels beside few rows: their sums do not wait for each other
constexpr int64_t STRETCH = 256;              // inputs with sums of their own: a long sum rounds each product to its size
constexpr int64_t STRIDE = 16;                // inputs between two looks at what is to be fetched
constexpr int64_t BLOCK_BYTES = 384 << 10;    // of rows, which stay in a core's cache while panels pass
constexpr int LINE = 64;                      // bytes that memory gives at once

struct fp16 {
  uint16_t bits;
};

inline Vector load(const fp16* p) {
#if defined(__AVX512F__) && LANES == 16
  return (Vector)_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#else
  Vector wide;
  for (int i = 0; i < LANES / 8; i++) {
    const __m256 eight = _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8 * i)));
    std::memcpy(reinterpret_cast<char*>(&wide) + 32 * i, &eight, sizeof eight);
  }
  return wide;
#endif
}

// One input's weights in a panel.
template <typename W>
inline void load_panel(const W* at, Vector (&w)[PARTS]) {
  for (int part = 0; part < PARTS; part++) w[part] = load(at + part * LANES);
}

inline void load_panel(const bf16* at, Vector (&w)[PARTS]) {
  const __m256i pairs = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
  const __m256i halves[] = {_mm256_slli_epi32(pairs, 16), _mm256_and_si256(pairs, _mm256_set1_epi32(int32_t(0xffff0000)))};
#if LANES == 16 && defined(__AVX512F__)
  w[0] = (Vector)_mm512_inserti64x4(_mm512_castsi256_si512(halves[0]), halves[1], 1);
#else
  std::memcpy(w, halves, sizeof halves);
#endif
}

inline void finish(const FloatProduct& p, int row, int output, Vector sum) {
  if (p.bias) sum += load(p.bias + output);
  float* out = p.out + int64_t(row) * p.outputs + output;
  if (output + LANES <= p.outputs)
    store(out, sum);
  else if (output < p.outputs)
    std::memcpy(out, &sum, (p.outputs - output) * sizeof(float));
}

// Weights that come next. While several groups of rows pass over the same panels, memory would rest, and be waited for
// afterwards: the order of the loads does not tell the processor what is next.
struct Ahead {
  const char *at, *end;
  int64_t step;  // bytes a stride

  inline void fetch() {
    for (const char* stop = std::min(end, at + step); at < stop; at += LINE) _mm_prefetch(at, _MM_HINT_T1);
  }
};

// R rows from `row` with P panels from `panel`.
template <typename W, int R, int P>
inline void multiply(const FloatProduct& p, int row, int panel, Ahead ahead) {
  const int64_t inputs = p.inputs, stride = p.row_stride;
  const W* weights = static_cast<const W*>(p.panels) + panel * inputs * PANEL;
  const float* x = p.x + row * stride;
  Vector totals[R][P][PARTS] = {};
  for (int64_t first = 0; first < inputs; first += STRETCH) {
    const int64_t last = std::min(inputs, first + STRETCH);
    Vector sums[R][P][PARTS] = {};
    for (int64_t at = first; at < last; at += STRIDE) {
      ahead.fetch();
      for (int64_t k = at, end = std::min(last, at + STRIDE); k < end; k++)
#pragma GCC unroll 4
        for (int side = 0; side < P; side++) {
          Vector w[PARTS];
          load_panel(weights + (side * inputs + k) * PANEL, w);
#pragma GCC unroll 12
          for (int r = 0; r < R; r++)
            for (int part = 0; part < PARTS; part++) sums[r][side][part] += w[part] * splat(x[r * stride + k]);
        }
    }
    for (int r = 0; r < R; r++)
      for (int side = 0; side < P; side++)
        for (int part = 0; part < PARTS; part++) totals[r][side][part] += sums[r][side][part];
  }
  for (int r = 0; r < R; r++)
    for (int side = 0; side < P; side++)
      for (int part = 0; part < PARTS; part++)
        finish(p, row + r, (panel + side) * PANEL + part * LANES, totals[r][side][part]);
}

template <typename W, int R>
void multiply_panels(const FloatProduct& p, int row, int panel, int end, Ahead ahead) {
  constexpr int P = std::clamp(SUMS / (R * PARTS), 1, SIDE_BY_SIDE);
  for (; panel + P <= end; panel += P) multiply<W, R, P>(p, row, panel, ahead);
  for (; panel < end; panel++) multiply<W, R, 1>(p, row, panel, ahead);
}

template <typename W>
using Multiply = void (*)(const FloatProduct&, int, int, int, Ahead);

template <typename W>
constexpr Multiply<W> BY_ROWS[] = {
    nullptr,
    multiply_panels<W, 1>, multiply_panels<W, 2>, multiply_panels<W, 3>,
    multiply_panels<W, 4>, multiply_panels<W, 5>, multiply_panels<W, 6>,
#if LANES == 16
    multiply_panels<W, 7>, multiply_panels<W, 8>, multiply_panels<W, 9>,
    multiply_panels<W, 10>, multiply_panels<W, 11>, multiply_panels<W, 12>,
#endif
};

// Rows [first, last) with panels [panel, end). While several groups of rows pass, panels lie in the nearest cache, and each
// group fetches its part of the next ones.
template <typename W>
void multiply_block(const FloatProduct& p, int first, int last, int panel, int end) {
  const int rows = last - first, groups = (rows + ROWS - 1) / ROWS, slab = groups > 1 ? FEW : end - panel;
  const int64_t panel_bytes = p.inputs * PANEL * sizeof(W), strides = (p.inputs + STRIDE - 1) / STRIDE;
  for (; panel < end; panel += slab) {
    const int next = std::min(end, panel + slab);
    const char* weights = static_cast<const char*>(p.panels) + next * panel_bytes;
    const int64_t bytes = (std::min(end, next + slab) - next) * panel_bytes, lines = (bytes + LINE - 1) / LINE;
    for (int group = 0; group < groups; group++) {
      const int from = rows * group / groups, to = rows * (group + 1) / groups;
      const int64_t line = lines * group / groups, stop = lines * (group + 1) / groups;
      const Ahead ahead = {weights + line * LINE, weights + stop * LINE, (stop - line + strides - 1) / strides * LINE};
      BY_ROWS<W>[to - from](p, first + from, panel, next, ahead);
    }
  }
}

template <typename W>
void compute(const FloatProduct& p) {
  const int panels = (p.outputs + PANEL - 1) / PANEL, units = (panels + SIDE_BY_SIDE - 1) / SIDE_BY_SIDE;
  const int64_t fitting = BLOCK_BYTES / (int64_t(p.inputs) * sizeof(float)) / ROWS * ROWS;
  const int most = int(std::clamp<int64_t>(fitting, ROWS, 1 << 20)), blocks = (p.rows + most - 1) / most;
  const int shares = std::min(units, p.threads > 1 ? p.threads * TASKS : 1);
#pragma omp parallel for num_threads(p.threads) schedule(dynamic, 1) if (p.threads > 1)
  for (int task = 0; task < blocks * shares; task++) {
    const int64_t block = task / shares, share = task % shares;
    const int first = int(block * most), last = std::min(p.rows, first + most);
    const int panel = int(units * share / shares) * SIDE_BY_SIDE, end = int(units * (share + 1) / shares) * SIDE_BY_SIDE;
    multiply_block<W>(p, first, last, panel, std::min(panels, end));
  }
}

}  // namespace

extern "C" __attribute__((visibility("default"))) void thespis_multiply_floats(const FloatProduct* p) {
  if (p->type == BFLOAT16)
    compute<bf16>(*p);
  else if (p->type == FLOAT16)
    compute<fp16>(*p);
  else
    compute<float>(*p);
}
