// What attention is called with. The structs are mirrored in library.py.
//
// A pool's layer is [blocks, block_size, 2 (key, value), kv_heads, width]. A table's row holds the blocks of one sequence.
#pragma once
#include <cstdint>

extern "C" {
struct Rows {  // of one token each
  const int32_t* tables;   // [rows, table_stride]
  const int32_t* lengths;  // [rows]: tokens of the context, the row's own included
  const int32_t* tasks;    // [tasks, 2]: row, first position of a piece
  const int32_t* firsts;   // [rows + 1]: the first task of each row
  int64_t table_stride;
  int32_t count, tasks_count, piece;
};

struct Chunks {  // of several tokens each, one after the other
  const int32_t* tables;  // [chunks, table_stride]
  const int32_t* firsts;  // [chunks + 1]: the first token of each
  const int32_t* lows;    // [tokens]: the first position that each sees
  const int32_t* highs;   // [tokens]: the one after the last that it sees
  int64_t table_stride;
  int32_t count;
};

struct Attention {
  const Rows* rows;      // one of the two is asked for
  const Chunks* chunks;
  const void* pool;
  const void* query;   // [tokens, heads, width]
  const float* sinks;  // [heads] or null
  void* out;           // [tokens, heads, width]
  float* scratch;      // rows: (width + LANES + 1) * heads of each task, then (width + 16) * heads of each thread, all in whole
                       // lines of 16; chunks: each thread's room
  int64_t row_stride, head_stride;  // of the query, in elements
  int32_t heads, kv_heads, width, block_size, window, is_bf16, threads;  // window: of rows
  float scale, softcap;
};
}

constexpr float LOG2E = 1.4426950408889634f;
