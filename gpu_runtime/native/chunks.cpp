// Attention of chunks of prompts over block tables. Keys and values are taken from their blocks a few at a time, into a
// buffer that stays in the core's own cache, and meet the queries of many tokens and heads there.
//
// A token's result depends on what it sees alone: keys are added one after the other, in steps that begin at fixed positions,
// and a key that others of its tile see has weight 0. It is the same in every chunk, company and number of threads.
#include <immintrin.h>
#include <omp.h>

#include <algorithm>
#include <cmath>

#include "attention.h"
#include "vector.h"

namespace {

constexpr int ACROSS = 3;                       // vectors of queries that meet a key together
constexpr int QUERIES = ACROSS * LANES;         // of a tile
constexpr int TILES = 4;                        // of a task: they share what is taken of keys and values
constexpr int KEYS = LANES == 16 ? 8 : 4;       // KEYS * ACROSS sums fill the registers
constexpr int OUT_ROWS = LANES == 16 ? 12 : 6;  // as many, times two vectors of values
constexpr int STEP = 64;                        // keys that are taken at once
static_assert(QUERIES % OUT_ROWS == 0 && STEP % KEYS == 0);

inline float to_float(float x) { return x; }

inline float to_float(bf16 x) {
  const uint32_t bits = uint32_t(x.bits) << 16;
  float value;
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}

// Queries of one key head: the query heads of a token side by side, token after token.
struct Tile {
  float* queries;        // [width, QUERIES]
  float* acc;            // [QUERIES, width]: weighted values
  float *most, *total;   // [QUERIES]: the largest score, in powers of two, and the sum of weights
  int32_t *lows, *highs;  // [QUERIES]: what each sees
  int begin, end;        // what any of them sees
  int all_from, all_to;  // what all of them see
};

struct Room {  // of one thread
  float *queries, *acc, *keys, *values, *scores, *most, *total, *shrink;
  int32_t *lows, *highs;

  static int64_t floats(int64_t width) {
    return width * (2 * TILES * QUERIES + 2 * STEP) + STEP * QUERIES + (4 * TILES + 1) * QUERIES;
  }

  Room(float* from, int64_t width) {
    queries = from;
    acc = queries + TILES * QUERIES * width;
    keys = acc + TILES * QUERIES * width;
    values = keys + STEP * width;
    scores = values + STEP * width;
    most = scores + STEP * QUERIES;
    total = most + TILES * QUERIES;
    shrink = total + TILES * QUERIES;
    lows = reinterpret_cast<int32_t*>(shrink + QUERIES);
    highs = lows + TILES * QUERIES;
  }
};

struct Task {
  int chunk, kv, first, count;  // queries [first, first + count) of the chunk's and of one key head
};

// The scores of KEYS keys for a tile: [KEYS, QUERIES].
inline void dots(const float* queries, const float* keys, int width, float* scores) {
  Vector sums[KEYS][ACROSS] = {};
  for (int d = 0; d < width; d++) add_products(keys + d, width, queries + d * QUERIES, sums);
#pragma GCC unroll 8
  for (int k = 0; k < KEYS; k++)
#pragma GCC unroll 4
    for (int v = 0; v < ACROSS; v++) store(scores + k * QUERIES + v * LANES, sums[k][v]);
}

// What OUT_ROWS queries have of their values, after `count` more, in D vectors of each.
template <int D>
inline void add_values(const float* weights, const float* values, int count, int width, const float* shrink, float* acc) {
  Vector sums[OUT_ROWS][D];
#pragma GCC unroll 12
  for (int r = 0; r < OUT_ROWS; r++)
#pragma GCC unroll 2
    for (int v = 0; v < D; v++) sums[r][v] = load(acc + r * width + v * LANES) * shrink[r];
  for (int k = 0; k < count; k++) add_products(weights + k * QUERIES, 1, values + k * width, sums);
#pragma GCC unroll 12
  for (int r = 0; r < OUT_ROWS; r++)
#pragma GCC unroll 2
    for (int v = 0; v < D; v++) store(acc + r * width + v * LANES, sums[r][v]);
}

inline Ints load(const int32_t* p) { return *reinterpret_cast<const Ints*>(p); }

// Scores of keys [from, from + count) into weights, a vector of queries at a time; what was summed so far is to shrink where
// the largest score grows. CUT: not every query sees every key.
template <bool CUT>
void weigh(const Attention& a, const Tile& tile, float* scores, int from, int count, float* shrink) {
  for (int at = 0; at < QUERIES; at += LANES) {
    const Ints low = CUT ? load(tile.lows + at) : Ints{}, high = CUT ? load(tile.highs + at) : Ints{};
    const Vector before = load(tile.most + at);
    Vector most = before, total = {};
    for (int k = 0; k < count; k++) {
      Vector s = load(scores + k * QUERIES + at);
      if (a.softcap > 0) s = tanh(s / a.softcap) * (a.softcap * LOG2E);
      if (CUT) s = ((Ints{} + (from + k) >= low) & (Ints{} + (from + k) < high)) ? s : splat(-INFINITY);
      if (CUT || a.softcap > 0) store(scores + k * QUERIES + at, s);
      most = larger(most, s);
    }
    for (int k = 0; k < count; k++) {
      Vector weight = exp2(load(scores + k * QUERIES + at) - most);
      if (CUT) weight = ((Ints{} + (from + k) >= low) & (Ints{} + (from + k) < high)) ? weight : Vector{};
      store(scores + k * QUERIES + at, weight);
      total += weight;
    }
    const Vector less = (before == most) ? splat(1.f) : exp2(before - most);
    store(shrink + at, less);
    store(tile.most + at, most);
    store(tile.total + at, load(tile.total + at) * less + total);
  }
}

void attend_tile(const Attention& a, const Tile& tile, const Room& room, int from, int count) {
  for (int k = 0; k < count; k += KEYS) dots(tile.queries, room.keys + k * a.width, a.width, room.scores + k * QUERIES);
  if (tile.all_from <= from && from + count <= tile.all_to)
    weigh<false>(a, tile, room.scores, from, count, room.shrink);
  else
    weigh<true>(a, tile, room.scores, from, count, room.shrink);
  for (int r = 0; r < QUERIES; r += OUT_ROWS) {
    float* acc = tile.acc + r * a.width;
    int d = 0;
    for (; d + 2 * LANES <= a.width; d += 2 * LANES)
      add_values<2>(room.scores + r, room.values + d, count, a.width, room.shrink + r, acc + d);
    for (; d < a.width; d += LANES)
      add_values<1>(room.scores + r, room.values + d, count, a.width, room.shrink + r, acc + d);
  }
}

// Keys and values of positions [from, to) of one key head; more keys of zeros, up to a whole number of KEYS.
template <typename T>
void take_keys(const Attention& a, const Task& task, int from, int to, const Room& room) {
  const int32_t* table = a.chunks->tables + task.chunk * a.chunks->table_stride;
  const int64_t apart = int64_t(a.kv_heads) * a.width;
  for (int at = from; at < to; at++) {
    const int64_t slot = int64_t(table[at / a.block_size]) * a.block_size + at % a.block_size;
    const T* key = static_cast<const T*>(a.pool) + slot * 2 * apart + int64_t(task.kv) * a.width;
    for (int d = 0; d < a.width; d += LANES) {
      store(room.keys + (at - from) * a.width + d, load(key + d));
      store(room.values + (at - from) * a.width + d, load(key + apart + d));
    }
  }
  const int whole = (to - from + KEYS - 1) / KEYS * KEYS;
  std::fill(room.keys + (to - from) * a.width, room.keys + whole * a.width, 0.f);
}

template <typename T>
Tile take_tile(const Attention& a, const Task& task, int number, const Room& room) {
  const int group = a.heads / a.kv_heads, own = a.chunks->firsts[task.chunk];
  const int64_t at = number * QUERIES;
  Tile tile = {room.queries + at * a.width, room.acc + at * a.width, room.most + at, room.total + at, room.lows + at, room.highs + at,
               INT32_MAX, 0, 0, INT32_MAX};
  std::fill_n(tile.acc, QUERIES * a.width, 0.f);
  std::fill_n(tile.queries, QUERIES * a.width, 0.f);
  const float scale = a.softcap > 0 ? a.scale : a.scale * LOG2E;
  for (int i = 0; i < QUERIES; i++) {
    const bool is_there = at + i < task.count;
    const int query = is_there ? task.first + at + i : task.first + task.count - 1;  // others see what the last sees
    const int token = own + query / group, head = task.kv * group + query % group;
    tile.lows[i] = a.chunks->lows[token], tile.highs[i] = a.chunks->highs[token];
    tile.begin = std::min(tile.begin, tile.lows[i]), tile.end = std::max(tile.end, tile.highs[i]);
    tile.all_from = std::max(tile.all_from, tile.lows[i]), tile.all_to = std::min(tile.all_to, tile.highs[i]);
    tile.most[i] = a.sinks ? a.sinks[head] * LOG2E : -INFINITY;
    tile.total[i] = a.sinks ? 1.f : 0.f;
    if (!is_there) continue;
    const T* from = static_cast<const T*>(a.query) + token * a.row_stride + head * a.head_stride;
    for (int d = 0; d < a.width; d++) tile.queries[d * QUERIES + i] = to_float(from[d]) * scale;
  }
  return tile;
}

template <typename T>
void put_tile(const Attention& a, const Task& task, int number, const Tile& tile) {
  const int group = a.heads / a.kv_heads, own = a.chunks->firsts[task.chunk];
  for (int i = 0; i < std::min(QUERIES, task.count - number * QUERIES); i++) {
    const int query = task.first + number * QUERIES + i;
    const int64_t token = own + query / group, head = task.kv * group + query % group;
    T* out = static_cast<T*>(a.out) + (token * a.heads + head) * a.width;
    for (int d = 0; d < a.width; d += LANES) store(out + d, load(tile.acc + i * a.width + d) / tile.total[i]);
  }
}

template <typename T>
void attend_task(const Attention& a, const Task& task) {
  const Room room(a.scratch + omp_get_thread_num() * Room::floats(a.width), a.width);
  const int count = (task.count + QUERIES - 1) / QUERIES;
  Tile tiles[TILES];
  int begin = INT32_MAX, end = 0;
  for (int i = 0; i < count; i++) {
    tiles[i] = take_tile<T>(a, task, i, room);
    begin = std::min(begin, tiles[i].begin), end = std::max(end, tiles[i].end);
  }
  for (int step = begin / STEP * STEP; step < end; step += STEP) {
    const int from = std::max(step, begin), to = std::min(step + STEP, end);
    take_keys<T>(a, task, from, to, room);
    for (int i = 0; i < count; i++)
      if (tiles[i].begin < to && tiles[i].end > from)
        attend_tile(a, tiles[i], room, from, std::min(to, tiles[i].end) - from);
  }
  for (int i = 0; i < count; i++) put_tile<T>(a, task, i, tiles[i]);
}

// Queries of each key head of a chunk, and the tasks that they make.
int queries_of(const Attention& a, int chunk) {
  return (a.chunks->firsts[chunk + 1] - a.chunks->firsts[chunk]) * (a.heads / a.kv_heads);
}

int tasks_of(const Attention& a, int chunk) { return (queries_of(a, chunk) + TILES * QUERIES - 1) / (TILES * QUERIES); }

// Tasks are counted chunk by chunk, from their ends: late tokens see the most, and what takes longest is to begin first.
Task find_task(const Attention& a, int64_t number) {
  for (int chunk = 0;; chunk++) {
    const int count = tasks_of(a, chunk);
    if (number < int64_t(count) * a.kv_heads) {
      const int first = (count - 1 - int(number / a.kv_heads)) * TILES * QUERIES;
      return {chunk, int(number % a.kv_heads), first, std::min(TILES * QUERIES, queries_of(a, chunk) - first)};
    }
    number -= int64_t(count) * a.kv_heads;
  }
}

template <typename T>
void attend(const Attention& a) {
  int64_t tasks = 0;
  for (int chunk = 0; chunk < a.chunks->count; chunk++) tasks += int64_t(tasks_of(a, chunk)) * a.kv_heads;
#pragma omp parallel for schedule(dynamic, 1) num_threads(a.threads) if (a.threads > 1)
  for (int64_t task = 0; task < tasks; task++) attend_task<T>(a, find_task(a, task));
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int64_t thespis_chunk_floats(int64_t width) { return Room::floats(width); }

extern "C" __attribute__((visibility("default"))) void thespis_attend_chunks(const Attention* a) {
  if (a->is_bf16)
    attend<bf16>(*a);
  else
    attend<float>(*a);
}
