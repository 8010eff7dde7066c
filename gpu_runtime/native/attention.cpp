// Attention of one token per row over block tables, reading keys and values where they lie.
//
// A row's context is cut into pieces at fixed positions; each piece is one task with a softmax of its own, and a row's pieces
// are merged in their order. A row's result therefore depends on its own context alone: not on the rows beside it, nor on the
// number of threads.
#include <immintrin.h>
#include <omp.h>

#include <algorithm>
#include <cmath>

#include "attention.h"
#include "vector.h"

namespace {

constexpr int TILE = 16;  // tokens whose scores are made together
constexpr int MOST = 4;   // query heads that share one load of a key

struct Ahead {  // what comes next is fetched meanwhile, a share at each token
  const char* from;
  int64_t share;  // bytes

  void fetch(int tokens) {
    const char* end = from + tokens * share;
    for (; from < end; from += 64) _mm_prefetch(from, _MM_HINT_T1);
  }
};

template <typename T>
struct Tile {
  const T* keys;
  int64_t token, values;  // elements from one token to the next, and from a key to its value
  int low, high;          // tokens of the tile that are seen
  const T* key(int t) const { return keys + std::min(std::max(t, low), high - 1) * token; }
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

// Products of KEYS keys with G queries: every key is loaded once for all of them, and every query once for all keys.
template <typename T, int G, int KEYS>
inline void dots(const Query<T>* query, const T* const* keys, int width, float (*parts)[TILE][LANES], int t) {
  Vector sums[G][KEYS] = {};
  int d = 0;
#ifdef __AVX512BF16__
  if constexpr (sizeof(T) == 2)
    for (; d + 32 <= width; d += 32) {
      __m512bh k[KEYS];
#pragma GCC unroll 8
      for (int i = 0; i < KEYS; i++) k[i] = (__m512bh)_mm512_loadu_si512(keys[i] + d);
#pragma GCC unroll 8
      for (int g = 0; g < G; g++)
#pragma GCC unroll 8
        for (int i = 0; i < KEYS; i++)
          sums[g][i] = (Vector)_mm512_dpbf16_ps((__m512)sums[g][i], k[i], (__m512bh)_mm512_loadu_si512(query + g * width + d));
    }
#endif
  for (; d < width; d += LANES) {
    Vector k[KEYS];
#pragma GCC unroll 8
    for (int i = 0; i < KEYS; i++) k[i] = load(keys[i] + d);
#pragma GCC unroll 8
    for (int g = 0; g < G; g++) {
      Vector q = load(query + g * width + d);
      keep(q);
#pragma GCC unroll 8
      for (int i = 0; i < KEYS; i++) sums[g][i] += q * k[i];
    }
  }
#pragma GCC unroll 8
  for (int g = 0; g < G; g++)
#pragma GCC unroll 8
    for (int i = 0; i < KEYS; i++) store(parts[g][t + i], sums[g][i]);
}

// The scores of one head, in powers of two, -inf where nothing is seen.
inline void scores(const float (*parts)[LANES], Vector* s, float scale, float softcap, int low, int high) {
#pragma GCC unroll 2
  for (int i = 0; i < TILE / LANES; i++) {
    s[i] = sums(parts[i * LANES]) * scale;
    if (softcap > 0) s[i] = tanh(s[i] / softcap) * (softcap * LOG2E);
    Ints at = LANE + i * LANES;
    s[i] = ((at >= low) & (at < high)) ? s[i] : splat(-INFINITY);
  }
}

// Weights of one head's tile; what was summed so far shrinks where the largest score grows.
inline void weigh(const Vector* s, float* weights, float* totals, float* most, float* acc, int width, int low, int high) {
  Vector top = s[0];
#pragma GCC unroll 2
  for (int i = 1; i < TILE / LANES; i++) top = larger(top, s[i]);
  const float high_score = largest(top);
  if (high_score > *most) {
    const float shrink = std::exp2(*most - high_score);
    *most = high_score;
    store(totals, load(totals) * shrink);
    for (int d = 0; d < width; d += LANES) store(acc + d, load(acc + d) * shrink);
  }
  Vector total = load(totals);
#pragma GCC unroll 2
  for (int i = 0; i < TILE / LANES; i++) {
    Ints at = LANE + i * LANES;
    Vector w = ((at >= low) & (at < high)) ? exp2(s[i] - *most) : Vector{};
    store(weights + i * LANES, w);
    total += w;
  }
  store(totals, total);
}

// Values of a tile into what G heads have of D vectors of them.
template <typename T, int G, int D>
inline void add_values(const float (*weights)[TILE], const T* values, int64_t token, int low, int high, int width, float* acc) {
  Vector sums[G][D];
#pragma GCC unroll 8
  for (int g = 0; g < G; g++)
#pragma GCC unroll 8
    for (int i = 0; i < D; i++) sums[g][i] = load(acc + g * width + i * LANES);
  for (int t = low; t < high; t++) add_products(weights[0] + t, TILE, values + t * token, sums);
#pragma GCC unroll 8
  for (int g = 0; g < G; g++)
#pragma GCC unroll 8
    for (int i = 0; i < D; i++) store(acc + g * width + i * LANES, sums[g][i]);
}

template <typename T, int G>
void attend_tile(const Query<T>* query, Tile<T> tile, int width, float scale, float softcap, float* most, float* total, float* acc,
                 Ahead ahead) {
  constexpr int KEYS = G == 1 ? 8 : G < 4 ? 4 : 2, D = G < 4 ? 4 : 2;
  alignas(64) float parts[G][TILE][LANES], weights[G][TILE];
  const int first = tile.low / KEYS * KEYS, last = std::min((tile.high + KEYS - 1) / KEYS * KEYS, TILE);
  for (int t = 0; t < TILE; t += KEYS) {
    ahead.fetch(KEYS);
    if (t < first || t >= last) continue;
    const T* keys[KEYS];
    for (int i = 0; i < KEYS; i++) keys[i] = tile.key(t + i);
    dots<T, G, KEYS>(query, keys, width, parts, t);
  }
  for (int g = 0; g < G; g++) {
    Vector s[TILE / LANES];
    scores(parts[g], s, scale, softcap, tile.low, tile.high);
    weigh(s, weights[g], total + g * LANES, most + g, acc + g * width, width, tile.low, tile.high);
  }
  const T* values = tile.keys + tile.values;
  int d = 0;
  for (; d + D * LANES <= width; d += D * LANES)
    add_values<T, G, D>(weights, values + d, tile.token, tile.low, tile.high, width, acc + d);
  for (; d < width; d += LANES) add_values<T, G, 1>(weights, values + d, tile.token, tile.low, tile.high, width, acc + d);
}

template <typename T>
using AttendTile = void (*)(const Query<T>*, Tile<T>, int, float, float, float*, float*, float*, Ahead);

template <typename T>
constexpr AttendTile<T> BY_HEADS[] = {nullptr, attend_tile<T, 1>, attend_tile<T, 2>, attend_tile<T, 3>, attend_tile<T, MOST>};

// One task's place in the scratch memory: of each head the largest score, LANES sums of weights, and weighted values.
struct Partial {
  float *most, *total, *acc;
  Partial(const Attention& a, int64_t task) {
    const int64_t heads = a.heads;
    most = a.scratch + task * heads * (a.width + 1 + LANES);
    total = most + heads;
    acc = total + heads * LANES;
  }
};

// The row's query, heads side by side, in memory of this thread behind the partial results.
template <typename T>
const Query<T>* take_query(const Attention& a, int row) {
  float* mine = Partial(a, a.rows->tasks_count).most + int64_t(omp_get_thread_num()) * a.heads * a.width;
  Query<T>* query = reinterpret_cast<Query<T>*>(mine);
  for (int h = 0; h < a.heads; h++) {
    const T* from = static_cast<const T*>(a.query) + row * a.row_stride + h * a.head_stride;
    for (int d = 0; d < a.width; d += LANES) store(query + h * a.width + d, load(from + d));
  }
  return query;
}

template <typename T>
void attend_piece(const Attention& a, int task) {
  const int row = a.rows->tasks[2 * task], length = a.rows->lengths[row];
  const int begin = std::max(a.rows->tasks[2 * task + 1], a.window > 0 ? length - a.window : 0);
  const int end = std::min(a.rows->tasks[2 * task + 1] + a.rows->piece, length);
  const int32_t* table = a.rows->tables + row * a.rows->table_stride;
  const int64_t values = int64_t(a.kv_heads) * a.width, token = 2 * values, block = token * a.block_size;
  const T* pool = static_cast<const T*>(a.pool);
  const Query<T>* query = take_query<T>(a, row);
  const int group = a.heads / a.kv_heads, parts = (group + MOST - 1) / MOST, units = a.kv_heads * parts;
  const float scale = a.softcap > 0 ? a.scale : a.scale * LOG2E;
  Partial made(a, task);
  std::fill_n(made.most, a.heads, -INFINITY);
  std::fill_n(made.total, a.heads * (LANES + int64_t(a.width)), 0.f);
  for (int at = begin; at < end;) {
    const int number = at / a.block_size, offset = at % a.block_size, first = offset / TILE * TILE;
    const int stop = std::min({first + TILE, a.block_size, end - number * a.block_size});
    const int next = number * a.block_size + stop, next_offset = next % a.block_size;
    Ahead ahead = {nullptr, 0};
    if (next < end) {
      const int tokens = std::min(TILE, a.block_size - next_offset);
      ahead.from = reinterpret_cast<const char*>(pool + table[next / a.block_size] * block + next_offset * token);
      ahead.share = (tokens * token * int64_t(sizeof(T)) / (units * TILE) + 63) / 64 * 64;
    }
    const T* base = pool + table[number] * block + first * token;
    for (int unit = 0; unit < units; unit++) {
      const int kv = unit / parts, part = unit % parts;
      const int head = kv * group + group * part / parts, count = kv * group + group * (part + 1) / parts - head;
      const Tile<T> tile = {base + int64_t(kv) * a.width, token, values, offset - first, stop - first};
      BY_HEADS<T>[count](query + int64_t(head) * a.width, tile, a.width, scale, a.softcap, made.most + head,
                         made.total + head * LANES, made.acc + int64_t(head) * a.width, ahead);
      ahead.from += ahead.share * TILE;
    }
    at = next;
  }
}

// A head's pieces into one, in their order; a sink is a score without a value.
inline void merge_head(const Attention& a, int first, int last, int h, float* sum, float* total) {
  float most = a.sinks ? a.sinks[h] * LOG2E : -INFINITY;
  for (int task = first; task < last; task++) most = std::max(most, Partial(a, task).most[h]);
  *total = a.sinks ? std::exp2(a.sinks[h] * LOG2E - most) : 0.f;
  for (int task = first; task < last; task++) {
    const Partial made(a, task);
    const float part = std::exp2(made.most[h] - most);
    *total += ::sum(load(made.total + h * LANES)) * part;
    const float* acc = made.acc + int64_t(h) * a.width;
    for (int d = 0; d < a.width; d += LANES)  // the first piece's memory takes the sum
      store(sum + d, task == first ? load(acc + d) * part : load(sum + d) + load(acc + d) * part);
  }
}

template <typename T>
void merge(const Attention& a, int row) {
  const int first = a.rows->firsts[row], last = a.rows->firsts[row + 1];
  for (int h = 0; h < a.heads; h++) {
    float total, *sum = Partial(a, first).acc + int64_t(h) * a.width;
    merge_head(a, first, last, h, sum, &total);
    T* out = static_cast<T*>(a.out) + (int64_t(row) * a.heads + h) * a.width;
    for (int d = 0; d < a.width; d += LANES) store(out + d, load(sum + d) / total);
  }
}

template <typename T>
void attend(const Attention& a) {
#pragma omp parallel num_threads(a.threads) if (a.threads > 1)
  {
#pragma omp for schedule(dynamic, 1)
    for (int task = 0; task < a.rows->tasks_count; task++) attend_piece<T>(a, task);
#pragma omp for schedule(static)
    for (int row = 0; row < a.rows->count; row++) merge<T>(a, row);
  }
}

}  // namespace

extern "C" __attribute__((visibility("default"))) void thespis_attend(const Attention* a) {
  if (a->is_bf16)
    attend<bf16>(*a);
  else
    attend<float>(*a);
}
