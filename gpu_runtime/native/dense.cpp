// Attention in which every query sees every key, as towers have it: of pictures, whose patches all look at each other.
//
// Queries lie across vectors, so that what is summed and compared over keys needs no steps within one. A few keys and values
// at a time are copied to where they stay in the core's own cache, and meet the queries of several tiles there. Keys are added
// in their order: a query's result is the same in every company and with any number of threads.
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "vector.h"

extern "C" {  // mirrored in library.py
struct Numbers {            // [items, heads, rows, width], the width's side by side
  float* at;
  int64_t item, head, row;  // from one to the next, in floats
};

struct DenseAttention {
  Numbers query, key, value, out;
  int32_t items, heads, kv_heads, queries, keys, width, threads;
  float scale;
};
}

namespace {

constexpr int ACROSS = 3;                       // vectors of queries that meet a key together
constexpr int QUERIES = ACROSS * LANES;         // of a tile
constexpr int TILES = 16;                       // of a task, at most: they share the copies of keys and values
constexpr int KEYS = LANES == 16 ? 8 : 4;       // KEYS * ACROSS sums fill the registers
constexpr int OUT_ROWS = LANES == 16 ? 12 : 6;  // as many, times two vectors of values
constexpr int STEP = 128;                       // keys that are copied at once
constexpr int WIDEST = 128;                     // of dense.py, too
constexpr float LOG2E = 1.44269504088896341f;
static_assert(QUERIES % OUT_ROWS == 0 && STEP % KEYS == 0 && WIDEST % LANES == 0);

struct Tile {
  alignas(64) float queries[WIDEST * QUERIES];  // [width, QUERIES]
  float acc[QUERIES * WIDEST];                  // [QUERIES, padded]: weighted values
  float most[QUERIES], total[QUERIES];          // the largest score, in powers of two, and the sum of weights
};

struct Step {
  alignas(64) float keys[STEP * WIDEST];  // [STEP, width]
  float values[STEP * WIDEST];            // [STEP, padded], of each width the rest zeros
  float scores[STEP * QUERIES];           // [STEP, QUERIES]
  float shrink[QUERIES];
};

inline float* place(const Numbers& rows, int item, int head, int row) {
  return rows.at + item * rows.item + head * rows.head + row * rows.row;
}

// The scores of KEYS keys for a tile: [KEYS, QUERIES].
inline void multiply_keys(const float* queries, const float* keys, int width, float* scores) {
  Vector sums[KEYS][ACROSS] = {};
  for (int d = 0; d < width; d++) {
    Vector query[ACROSS];
#pragma GCC unroll 4
    for (int v = 0; v < ACROSS; v++) query[v] = load(queries + d * QUERIES + v * LANES);
#pragma GCC unroll 8
    for (int k = 0; k < KEYS; k++)
#pragma GCC unroll 4
      for (int v = 0; v < ACROSS; v++) sums[k][v] += query[v] * splat(keys[k * width + d]);
  }
#pragma GCC unroll 8
  for (int k = 0; k < KEYS; k++)
#pragma GCC unroll 4
    for (int v = 0; v < ACROSS; v++) store(scores + k * QUERIES + v * LANES, sums[k][v]);
}

// What OUT_ROWS queries have of their values, after `count` more, in D vectors of each.
template <int D>
inline void add_values(const float* weights, const float* values, int count, int padded, const float* shrink, float* acc) {
  Vector sums[OUT_ROWS][D];
#pragma GCC unroll 12
  for (int r = 0; r < OUT_ROWS; r++)
#pragma GCC unroll 2
    for (int v = 0; v < D; v++) sums[r][v] = load(acc + r * padded + v * LANES) * shrink[r];
  for (int k = 0; k < count; k++) {
    Vector value[D];
#pragma GCC unroll 2
    for (int v = 0; v < D; v++) value[v] = load(values + k * padded + v * LANES);
#pragma GCC unroll 12
    for (int r = 0; r < OUT_ROWS; r++)
#pragma GCC unroll 2
      for (int v = 0; v < D; v++) sums[r][v] += splat(weights[k * QUERIES + r]) * value[v];
  }
#pragma GCC unroll 12
  for (int r = 0; r < OUT_ROWS; r++)
#pragma GCC unroll 2
    for (int v = 0; v < D; v++) store(acc + r * padded + v * LANES, sums[r][v]);
}

// Scores of `count` keys into weights; what was summed so far is to shrink where the largest score grows.
void weigh(Tile& tile, Step& step, int count) {
  for (int at = 0; at < QUERIES; at += LANES) {
    const Vector before = load(tile.most + at);
    Vector most = before, total = {};
    for (int k = 0; k < count; k++) most = larger(most, load(step.scores + k * QUERIES + at));
    for (int k = 0; k < count; k++) {
      const Vector weight = exp2(load(step.scores + k * QUERIES + at) - most);
      store(step.scores + k * QUERIES + at, weight);
      total += weight;
    }
    const Vector less = exp2(before - most);
    store(step.shrink + at, less);
    store(tile.most + at, most);
    store(tile.total + at, load(tile.total + at) * less + total);
  }
}

// `padded`: `width`, up to a whole number of vectors.
void attend_tile(Tile& tile, Step& step, int count, int width, int padded) {
  for (int k = 0; k < count; k += KEYS)
    multiply_keys(tile.queries, step.keys + k * width, width, step.scores + k * QUERIES);
  weigh(tile, step, count);
  for (int r = 0; r < QUERIES; r += OUT_ROWS) {
    int d = 0;
    for (; d + 2 * LANES <= padded; d += 2 * LANES)
      add_values<2>(step.scores + r, step.values + d, count, padded, step.shrink + r, tile.acc + r * padded + d);
    for (; d < padded; d += LANES)
      add_values<1>(step.scores + r, step.values + d, count, padded, step.shrink + r, tile.acc + r * padded + d);
  }
}

// More keys of zeros, up to a whole number of KEYS: their scores are made and not looked at.
void copy_step(const DenseAttention& a, int item, int head, int from, int count, int padded, Step& step) {
  const int kv = head / (a.heads / a.kv_heads);
  for (int k = 0; k < count; k++) {
    std::memcpy(step.keys + k * a.width, place(a.key, item, kv, from + k), a.width * sizeof(float));
    std::memcpy(step.values + k * padded, place(a.value, item, kv, from + k), a.width * sizeof(float));
    std::fill(step.values + k * padded + a.width, step.values + (k + 1) * padded, 0.f);
  }
  std::fill(step.keys + count * a.width, step.keys + (count + KEYS - 1) / KEYS * KEYS * a.width, 0.f);
}

void begin(const DenseAttention& a, int item, int head, int first, int padded, Tile& tile) {
  std::fill_n(tile.queries, a.width * QUERIES, 0.f);
  std::fill_n(tile.acc, QUERIES * padded, 0.f);
  std::fill_n(tile.most, QUERIES, -INFINITY);
  std::fill_n(tile.total, QUERIES, 0.f);
  for (int i = 0; i < std::min(QUERIES, a.queries - first); i++) {
    const float* query = place(a.query, item, head, first + i);
    for (int d = 0; d < a.width; d++) tile.queries[d * QUERIES + i] = query[d] * (a.scale * LOG2E);
  }
}

void end(const DenseAttention& a, int item, int head, int first, int padded, const Tile& tile) {
  for (int i = 0; i < std::min(QUERIES, a.queries - first); i++) {
    float* out = place(a.out, item, head, first + i);
    const float part = 1 / tile.total[i];
    for (int d = 0; d < a.width; d++) out[d] = tile.acc[i * padded + d] * part;
  }
}

// `count` tiles of one head from query `first` on, at most TILES.
void attend(const DenseAttention& a, int item, int head, int first, int count) {
  Tile tiles[TILES];
  Step step;
  const int padded = (a.width + LANES - 1) / LANES * LANES;
  for (int i = 0; i < count; i++) begin(a, item, head, first + i * QUERIES, padded, tiles[i]);
  for (int from = 0; from < a.keys; from += STEP) {
    const int keys = std::min(STEP, a.keys - from);
    copy_step(a, item, head, from, keys, padded, step);
    for (int i = 0; i < count; i++) attend_tile(tiles[i], step, keys, a.width, padded);
  }
  for (int i = 0; i < count; i++) end(a, item, head, first + i * QUERIES, padded, tiles[i]);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) void thespis_attend_dense(const DenseAttention* a) {
  const int tiles = (a->queries + QUERIES - 1) / QUERIES, pieces = (tiles + TILES - 1) / TILES;
#pragma omp parallel for schedule(dynamic, 1) num_threads(a->threads) if (a->threads > 1)
  for (int64_t task = 0; task < int64_t(a->items) * a->heads * pieces; task++) {
    const int piece = int(task % pieces), head = int(task / pieces % a->heads), item = int(task / pieces / a->heads);
    const int first = tiles * piece / pieces, last = tiles * (piece + 1) / pieces;
    attend(*a, item, head, first * QUERIES, last - first);
  }
}
