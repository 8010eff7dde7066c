// One tile of a row's context: a few tokens of one block, whose keys become scores, weights, and a sum of their values.
#pragma once
#include <immintrin.h>

#include <algorithm>
#include <cmath>

#include "attention.h"
#include "vector.h"

namespace {

constexpr int TILE = 16;  // tokens whose scores are made together
constexpr int MOST = 4;   // query heads that share one load of a key or a value

// The next tile is fetched meanwhile, some lines at each of the tile's steps: memory is then neither idle nor crowded. In the
// order of addresses, which the processor carries on by itself: keys before values took longer.
struct Ahead {
  const char *at, *end;
  int64_t step;  // bytes

  void fetch() {
    for (const char* stop = std::min(at + step, end); at < stop; at += 64) _mm_prefetch(at, _MM_HINT_T0);
  }
};

template <typename T>
struct Tile {
  const T* keys[TILE];    // where each token begins; behind the last of a block, that one
  int64_t token, values;  // elements from one token to the next, and from a key to its value
  int low, high;          // tokens of the tile that are seen
};

template <typename T>
struct QueryOf {
  using Type = float;
};
#ifdef __AVX512BF16__
template <>
struct QueryOf<bf16> {
  using Type = bf16;  // the processor multiplies pairs of them
};
#endif
template <typename T>
using Query = typename QueryOf<T>::Type;

// What G queries have with KEYS keys in HALVES vectors: a key is loaded once for all queries, and a query once for all keys.
template <typename T, int G, int KEYS, int HALVES>
inline void add_dots(const Query<T>* query, const T* const* keys, int width, Vector (&sums)[G][KEYS]) {
#ifdef __AVX512BF16__
  if constexpr (sizeof(T) == 2 && HALVES == 2) {
#pragma GCC unroll 4
    for (int i = 0; i < KEYS; i++) {
      const __m512bh key = (__m512bh)_mm512_loadu_si512(keys[i]);
#pragma GCC unroll 4
      for (int g = 0; g < G; g++)
        sums[g][i] = (Vector)_mm512_dpbf16_ps((__m512)sums[g][i], key, (__m512bh)_mm512_loadu_si512(query + g * width));
    }
    return;
  }
#endif
  constexpr int HELD = 16 - G * KEYS - (sizeof(T) == 2 ? 2 : 1);  // queries for which there are registers
#pragma GCC unroll 2
  for (int half = 0; half < HALVES; half++) {
    Vector q[G];
#pragma GCC unroll 4
    for (int g = 0; g < G; g++) {
      q[g] = load(query + g * width + half * LANES);
      if (g < HELD) keep(q[g]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < KEYS; i++) {
      Vector key = HALVES == 2 ? load_half(keys[i], half) : load(keys[i]);
      if (G > 1) keep(key);
#pragma GCC unroll 4
      for (int g = 0; g < G; g++) sums[g][i] += q[g] * key;
    }
  }
}

template <typename T, int G, int KEYS>
inline void dots(const Query<T>* query, const T* const* keys, int width, Vector (&sums)[G][KEYS]) {
  const T* at[KEYS];
#pragma GCC unroll 4
  for (int i = 0; i < KEYS; i++) at[i] = keys[i];
  int d = 0;
  for (; d + 2 * LANES <= width; d += 2 * LANES) {
    add_dots<T, G, KEYS, 2>(query + d, at, width, sums);
#pragma GCC unroll 4
    for (int i = 0; i < KEYS; i++) at[i] += 2 * LANES;
  }
  if (d < width) add_dots<T, G, KEYS, 1>(query + d, at, width, sums);
}

// Products of four keys with G queries, from place t on.
template <typename T, int G>
inline void score_four(const Query<T>* query, const T* const* keys, int width, float (*scores)[TILE], int t) {
  if constexpr (G < MOST) {
    Vector made[G][4] = {};
    dots<T, G, 4>(query, keys, width, made);
#pragma GCC unroll 4
    for (int g = 0; g < G; g++) store(scores[g] + t, sums(made[g][0], made[g][1], made[g][2], made[g][3]));
  } else {  // two keys at a time, or the sums do not fit into the registers
    Four pairs[2][G / 2];
#pragma GCC unroll 2
    for (int half = 0; half < 2; half++) {
      Vector made[G][2] = {};
      dots<T, G, 2>(query, keys + 2 * half, width, made);
#pragma GCC unroll 2
      for (int p = 0; p < G / 2; p++)
        pairs[half][p] = sums(made[2 * p][0], made[2 * p][1], made[2 * p + 1][0], made[2 * p + 1][1]);
    }
#pragma GCC unroll 2
    for (int p = 0; p < G / 2; p++) {
      store(scores[2 * p] + t, __builtin_shuffle(pairs[0][p], pairs[1][p], FourInts{0, 1, 4, 5}));
      store(scores[2 * p + 1] + t, __builtin_shuffle(pairs[0][p], pairs[1][p], FourInts{2, 3, 6, 7}));
    }
  }
}

template <typename T, int G>
void score(const Query<T>* query, const Tile<T>& tile, int64_t kv, int width, float (*scores)[TILE], Ahead* ahead) {
  const int first = tile.low / 4 * 4;
  for (int t = 0; t < TILE; t += 4) {
    ahead->fetch();
    if (t < first || t >= tile.high) continue;
    const T* keys[] = {tile.keys[t] + kv, tile.keys[t + 1] + kv, tile.keys[t + 2] + kv, tile.keys[t + 3] + kv};
    score_four<T, G>(query, keys, width, scores, t);
  }
}

// Weights are powers of two of what a score is above `most`. That follows the largest score when it falls behind by more than
// this: to follow at once would shrink what was summed several times in each piece, and floats hold such weights as exactly.
constexpr float BEHIND = 8;

// One head's scores of a tile into weights; what was summed so far shrinks where `most` grows.
inline void weigh(float* scores, float scale, float softcap, float* totals, float* most, float* acc, int width, int low,
                  int high) {
  Vector s[TILE / LANES], top = splat(-INFINITY);
  Ints seen[TILE / LANES];
#pragma GCC unroll 2
  for (int i = 0; i < TILE / LANES; i++) {
    s[i] = load_fours(scores + i * LANES) * scale;
    if (softcap > 0) s[i] = tanh(s[i] / softcap) * (softcap * LOG2E);
    seen[i] = (LANE + i * LANES >= low) & (LANE + i * LANES < high);
    s[i] = seen[i] ? s[i] : splat(-INFINITY);
    top = larger(s[i], top);
  }
  if (any(top > *most + BEHIND)) {
    const float high_score = largest(top), shrink = std::exp2(*most - high_score);
    *most = high_score;
    store(totals, load(totals) * shrink);
    for (int d = 0; d < width; d += LANES) store(acc + d, load(acc + d) * shrink);
  }
  Vector total = load(totals);
#pragma GCC unroll 2
  for (int i = 0; i < TILE / LANES; i++) {
    Vector w = seen[i] ? exp2(s[i] - *most) : Vector{};
    store(scores + i * LANES, w);
    total += w;
  }
  store(totals, total);
}

// Values of a tile into what G heads have of V vectors of them.
template <typename T, int G, int V>
__attribute__((always_inline)) inline void add_values(const float (*weights)[TILE], const T* values, const Tile<T>& tile,
                                                      int width, float* acc) {
  Vector sums[G][V];
#pragma GCC unroll 4
  for (int g = 0; g < G; g++)
#pragma GCC unroll 8
    for (int i = 0; i < V; i++) sums[g][i] = load(acc + g * width + i * LANES);
  values += tile.low * tile.token;
  for (int t = tile.low; t < tile.high; t++, values += tile.token) {
    Vector w[G];
#pragma GCC unroll 4
    for (int g = 0; g < G; g++) w[g] = splat(weights[g][t]);
#pragma GCC unroll 8
    for (int i = 0; i < V; i++) {
      Vector value = V > 1 ? load_half(values + i / 2 * 2 * LANES, i % 2) : load(values);
      if (G > 1) keep(value);
#pragma GCC unroll 4
      for (int g = 0; g < G; g++) sums[g][i] += w[g] * value;
    }
  }
#pragma GCC unroll 4
  for (int g = 0; g < G; g++)
#pragma GCC unroll 8
    for (int i = 0; i < V; i++) store(acc + g * width + i * LANES, sums[g][i]);
}

template <int G>
constexpr int ACROSS = G == 1 ? 8 : G < 4 ? 4 : 2;  // vectors of a value at once: as many sums as there are registers

template <typename T, int G>
void add(const float (*weights)[TILE], const Tile<T>& tile, int64_t kv, int width, float* acc, Ahead* ahead) {
  const T* values = tile.keys[0] + tile.values + kv;
  int d = 0;
  for (; d + ACROSS<G> * LANES <= width; d += ACROSS<G> * LANES) {
    ahead->fetch();
    add_values<T, G, ACROSS<G>>(weights, values + d, tile, width, acc + d);
  }
  for (; d + 2 * LANES <= width; d += 2 * LANES) add_values<T, G, 2>(weights, values + d, tile, width, acc + d);
  if (d < width) add_values<T, G, 1>(weights, values + d, tile, width, acc + d);
}

template <typename T>
struct Unit {  // some heads that share a key head
  void (*score)(const Query<T>*, const Tile<T>&, int64_t, int, float (*)[TILE], Ahead*);
  void (*add)(const float (*)[TILE], const Tile<T>&, int64_t, int, float*, Ahead*);
};

template <typename T, int G>
constexpr Unit<T> OF = {score<T, G>, add<T, G>};

template <typename T>
constexpr Unit<T> BY_HEADS[] = {{}, OF<T, 1>, OF<T, 2>, OF<T, 3>, OF<T, MOST>};

}  // namespace
