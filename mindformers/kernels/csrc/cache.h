// Attention of new tokens to keys and values that stay where they are while a text is written.
#pragma once

#include "call.h"

namespace mindformers {

// What is added to scores, float32 [1 or B, 1 or N, 1 or T, C]; nothing without data.
struct ScoreBias {
  ScoreBias() = default;
  ScoreBias(const Tensor& given, int64_t capacity);

  const float* at(int64_t row, int64_t head, int64_t token) const {
    return data + row * of_row + head * of_head + token * of_token;
  }

  const float* data = nullptr;
  int64_t of_row = 0, of_head = 0, of_token = 0;
};

// Cosines and sines, each float32 [1 or B, 1, T, H], that turn queries and keys; none without data.
struct Angles {
  const float *cosines = nullptr, *sines = nullptr;
  int64_t of_row = 0;
  bool interleaved = false;
};

// A layer's attention to its caches, both float32 [B * K * C, H]: C slots for each of K heads of B rows; a token's slot
// is its place in its row.
struct CacheAttention {
  int64_t batch, tokens, heads, kv_heads, size, capacity;
  float scale;
  const int32_t* slots;  // [B, T] of new tokens, which follow each other; null when none are appended
  ScoreBias bias;
  Angles angles;

  // Elements of what was projected for a token: queries, keys and values side by side, or queries alone.
  int64_t width() const { return (heads + (slots ? 2 * kv_heads : 0)) * size; }

  // context [B, T, N H] of `fresh` [B, T, width]. Keys and values are written into their slots and each query sees the
  // slots up to its own; without new ones it sees all.
  void operator()(const float* fresh, float* keys, float* values, float* context) const;
};

}  // namespace mindformers
