// Attention of one token per row over block tables, reading keys and values where they lie.
//
// A row's context is cut into pieces at fixed positions; each piece is one task with a softmax of its own, and a row's pieces
// are merged in their order. A row's result therefore depends on its own context alone: not on the rows beside it, nor on the
// number of threads.
#include <omp.h>

#include <algorithm>
#include <cmath>

#include "attention.h"
#include "tile.h"
#include "vector.h"

namespace {

constexpr int64_t whole_lines(int64_t floats) { return (floats + 15) / 16 * 16; }  // no two threads write to one line

// One task's place in the scratch memory: of each head weighted values, LANES sums of weights, and the score that these are relative to.
struct Partial {
  float *acc, *total, *most;
  Partial(const Attention& a, int64_t task) {
    const int64_t heads = a.heads;
    acc = a.scratch + task * whole_lines(heads * (a.width + LANES + 1));
    total = acc + heads * a.width;
    most = total + heads * LANES;
  }
};

// What a thread keeps behind the partial results: a row's query, heads side by side, and the scores of a tile.
template <typename T>
struct Kept {
  Query<T>* query;
  float (*scores)[TILE];
  Kept(const Attention& a) {
    float* mine = Partial(a, a.rows->tasks_count).acc + omp_get_thread_num() * whole_lines(int64_t(a.heads) * (a.width + TILE));
    query = reinterpret_cast<Query<T>*>(mine);
    scores = reinterpret_cast<float(*)[TILE]>(mine + int64_t(a.heads) * a.width);
  }

  void take_query(const Attention& a, int row) {
    for (int h = 0; h < a.heads; h++) {
      const T* from = static_cast<const T*>(a.query) + row * a.row_stride + h * a.head_stride;
      Query<T>* to = query + h * a.width;
      int d = 0;
      if constexpr (sizeof(Query<T>) == sizeof(float))
        for (; d + 2 * LANES <= a.width; d += 2 * LANES)
          for (int half = 0; half < 2; half++) store(to + d + half * LANES, load_half(from + d, half));
      for (; d < a.width; d += LANES) store(to + d, load(from + d));
    }
  }
};

// The tiles of one row from `at` to `end`, one after the other.
template <typename T>
struct Walk {
  const T* pool;
  const int32_t* table;
  int64_t token;  // elements
  int size, at, end;
  Tile<T> tile;

  // To the tile at `at`, which may begin and end within it.
  bool next() {
    if (at >= end) return false;
    const int offset = at % size, first = offset / TILE * TILE, room = std::min(TILE, size - first);
    const T* base = from(at - offset + first);
    for (int t = 0; t < TILE; t++) tile.keys[t] = base + std::min(t, room - 1) * token;
    tile.low = offset - first;
    tile.high = std::min(room, end - at + tile.low);
    at += tile.high - tile.low;
    return true;
  }
  const T* from(int position) const { return pool + (int64_t(table[position / size]) * size + position % size) * token; }
};

// How a row's heads are taken: those of a key head in as few and as even units as there can be.
struct Split {
  int kv_heads, parts, each, more;
  Split(const Attention& a) : kv_heads(a.kv_heads) {
    const int group = a.heads / a.kv_heads;
    parts = (group + MOST - 1) / MOST;
    each = group / parts;
    more = group % parts;
  }

  template <typename T, typename Work>
  void for_each(int width, Work work) const {  // with the first head, and where its key head lies in a token
    int64_t head = 0;
    for (int kv = 0; kv < kv_heads; kv++)
      for (int part = 0; part < parts; part++) {
        const int count = each + (part < more);
        work(BY_HEADS<T>[count], head, kv * int64_t(width));
        head += count;
      }
  }
};

// `last`: up to which position this thread will go on.
template <typename T>
Ahead next_tile(const Walk<T>& walk, int last, int steps) {
  if (walk.at >= last) return {};
  const int tokens = std::min({TILE, walk.size - walk.at % walk.size, last - walk.at});
  const char* from = reinterpret_cast<const char*>(walk.from(walk.at));
  const int64_t bytes = tokens * walk.token * int64_t(sizeof(T));
  return {from, from + bytes, (bytes / steps + 63) / 64 * 64};
}

// `goes_on`: this thread will attend the row's next piece, too.
template <typename T>
void attend_piece(const Attention& a, int task, bool goes_on) {
  const int row = a.rows->tasks[2 * task], length = a.rows->lengths[row], width = a.width;
  const int begin = std::max(a.rows->tasks[2 * task + 1], a.window > 0 ? length - a.window : 0);
  const int end = std::min(a.rows->tasks[2 * task + 1] + a.rows->piece, length), last = goes_on ? length : end;
  const int64_t values = int64_t(a.kv_heads) * width;
  const Split split(a);
  const int steps = split.kv_heads * split.parts * (TILE / 4 + width / (2 * LANES));
  const float scale = a.softcap > 0 ? a.scale : a.scale * LOG2E;
  Kept<T> kept(a);
  kept.take_query(a, row);
  Partial made(a, task);
  std::fill_n(made.acc, a.heads * (int64_t(width) + LANES), 0.f);
  std::fill_n(made.most, a.heads, -INFINITY);
  const T* pool = static_cast<const T*>(a.pool);
  const int32_t* table = a.rows->tables + row * a.rows->table_stride;
  Walk<T> walk = {pool, table, 2 * values, a.block_size, begin, end, {{}, 2 * values, values, 0, 0}};
  while (walk.next()) {
    const Tile<T>& tile = walk.tile;
    Ahead ahead = next_tile(walk, last, steps);
    split.for_each<T>(width, [&](const Unit<T>& unit, int64_t head, int64_t kv) {
      unit.score(kept.query + head * width, tile, kv, width, kept.scores + head, &ahead);
    });
    for (int64_t h = 0; h < a.heads; h++)
      weigh(kept.scores[h], scale, a.softcap, made.total + h * LANES, made.most + h, made.acc + h * width, width, tile.low,
            tile.high);
    split.for_each<T>(width, [&](const Unit<T>& unit, int64_t head, int64_t kv) {
      unit.add(kept.scores + head, tile, kv, width, made.acc + head * width, &ahead);
    });
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
    int d = 0;
    for (; d + 2 * LANES <= a.width; d += 2 * LANES)
      store_halves(out + d, load(sum + d) / total, load(sum + d + LANES) / total);
    if (d < a.width) store(out + d, load(sum + d) / total);
  }
}

template <typename T>
void attend(const Attention& a) {
  const int count = a.rows->tasks_count, run = a.threads == 1 ? count : std::max(1, count / (16 * a.threads));
#pragma omp parallel num_threads(a.threads) if (a.threads > 1)
  {
#pragma omp for schedule(dynamic, run)  // a thread takes so many in a row, and fetches across their borders
    for (int task = 0; task < count; task++) {
      const int next = task + 1;
      attend_piece<T>(a, task, next % run != 0 && next < count && a.rows->tasks[2 * next] == a.rows->tasks[2 * task]);
    }
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
