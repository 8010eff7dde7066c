// What a model does row by row between its products, each in one pass: torch has no operation for it, or makes it of several.
//
// Tensors are contiguous and as wide as whole vectors; numbers are float32 within, and rounded where they are stored. A row's
// result depends on that row alone.
#include <omp.h>

#include <algorithm>
#include <cmath>

#include "attention.h"
#include "vector.h"

namespace {

// x += add, where there is one; out = x / sqrt(mean(x * x) + eps) * weight.
template <typename T>
void norm_row(T* x, const T* add, const T* weight, T* out, int64_t width, float eps) {
  Vector squares = {};
  for (int64_t d = 0; d < width; d += LANES) {
    Vector v = load(x + d);
    if (add) {
      store(x + d, v + load(add + d));
      v = load(x + d);  // as it was rounded
    }
    squares += v * v;
  }
  const float scale = 1.f / std::sqrt(sum(squares) / float(width) + eps);
  for (int64_t d = 0; d < width; d += LANES) store(out + d, load(x + d) * scale * load(weight + d));
}

// out = silu(gate) * up, of rows [gate, up].
template <typename T>
void gate_row(const T* row, T* out, int64_t width) {
  for (int64_t d = 0; d < width; d += LANES) {
    const Vector gate = load(row + d), power = gate * -LOG2E;
    store(out + d, gate / (1.f + exp2(power > 126.f ? splat(126.f) : power)) * load(row + width + d));
  }
}

constexpr int64_t PIECE = 4096;  // numbers that a thread takes at once

// out = x * sigmoid(1.702 * x).
template <typename T>
void quick_gelu(const void* given, void* made, int64_t count, int threads) {
  const T* x = static_cast<const T*>(given);
  T* out = static_cast<T*>(made);
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (int64_t piece = 0; piece < count; piece += PIECE)
    for (int64_t i = piece; i < std::min(count, piece + PIECE); i += LANES) {
      const Vector v = load(x + i), power = v * (-1.702f * LOG2E);
      store(out + i, v / (1.f + exp2(power > 126.f ? splat(126.f) : power)));
    }
}

inline Ints evens() { return LANE & ~1; }

// Pairs of numbers, as complex ones, times those of `turn`.
template <typename T>
void turn_head(T* head, const float* turn, int64_t width) {
  const Vector sign = (LANE & 1) != 0 ? splat(1.f) : splat(-1.f);
  for (int64_t d = 0; d < width; d += LANES) {
    const Vector t = load(turn + d), v = load(head + d);
    const Vector real = __builtin_shuffle(t, evens()), imaginary = __builtin_shuffle(t, evens() | 1) * sign;
    store(head + d, v * real + __builtin_shuffle(v, LANE ^ 1) * imaginary);
  }
}

template <typename T>
void norm(void* x, const void* add, const void* weight, void* out, int64_t rows, int64_t width, float eps, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (int64_t row = 0; row < rows; row++)
    norm_row(static_cast<T*>(x) + row * width, add ? static_cast<const T*>(add) + row * width : nullptr,
             static_cast<const T*>(weight), static_cast<T*>(out) + row * width, width, eps);
}

template <typename T>
void gate(const void* rows_of_both, void* out, int64_t rows, int64_t width, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (int64_t row = 0; row < rows; row++)
    gate_row(static_cast<const T*>(rows_of_both) + 2 * row * width, static_cast<T*>(out) + row * width, width);
}

template <typename T>
void turn(void* heads, const float* turns, int64_t rows, int64_t stride, int64_t count, int64_t width, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (int64_t row = 0; row < rows; row++)
    for (int64_t head = 0; head < count; head++)
      turn_head(static_cast<T*>(heads) + row * stride + head * width, turns + row * width, width);
}

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default"))) void

// x, add (or null), out: [rows, width]; weight: [width]
EXPORT thespis_norm(void* x, const void* add, const void* weight, void* out, int64_t rows, int64_t width, float eps, int is_bf16,
                    int threads) {
  (is_bf16 ? norm<bf16> : norm<float>)(x, add, weight, out, rows, width, eps, threads);
}

// gate_up: [rows, 2, width]; out: [rows, width]
EXPORT thespis_gate(const void* gate_up, void* out, int64_t rows, int64_t width, int is_bf16, int threads) {
  (is_bf16 ? gate<bf16> : gate<float>)(gate_up, out, rows, width, threads);
}

// x, out: [count]
EXPORT thespis_quick_gelu(const void* x, void* out, int64_t count, int is_bf16, int threads) {
  (is_bf16 ? quick_gelu<bf16> : quick_gelu<float>)(x, out, count, threads);
}

// heads: [rows, stride], of each row the first count * width; turns: [rows, width / 2] complex numbers
EXPORT thespis_turn(void* heads, const float* turns, int64_t rows, int64_t stride, int64_t count, int64_t width, int is_bf16,
                    int threads) {
  (is_bf16 ? turn<bf16> : turn<float>)(heads, turns, rows, stride, count, width, threads);
}
