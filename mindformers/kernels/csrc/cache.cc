#include "cache.h"

#include <algorithm>

#include "convert.h"
#include "vector/few_rows.h"

namespace mindformers {
namespace {

constexpr int64_t MOST_ROWS = 16;  // queries that are worked on together, so that keys are read once for all

// One call of an attention.
struct Work {
  const CacheAttention& of;
  const float* fresh;
  float *keys, *values, *context;
  int64_t group = of.heads / of.kv_heads, width = of.width();

  // The slot of the first new token of row b.
  int64_t start(int64_t b) const { return of.slots[b * of.tokens]; }

  // Number of slots that query t of row b sees.
  int64_t seen(int64_t b, int64_t t) const { return of.slots ? std::min(start(b) + t + 1, of.capacity) : of.capacity; }

  // Head n of token t of row b among the new ones: queries first, then keys, then values.
  const float* head(int64_t b, int64_t t, int64_t n) const { return fresh + (b * of.tokens + t) * width + n * of.size; }

  // Copy a head, turned by the angle of its token.
  void turn(const float* from, int64_t b, int64_t t, float* to) const {
    const Angles& angles = of.angles;
    if (!angles.cosines) {
      std::copy(from, from + of.size, to);
      return;
    }
    int64_t angle = b * angles.of_row + t * of.size;
    rotary_float().rotate(from, angles.cosines + angle, angles.sines + angle, 1.0f, angles.interleaved, to, of.size);
  }

  // Keep keys and values of head k of row b; tokens beyond the last slot are padding.
  void append(int64_t b, int64_t k) const {
    for (int64_t t = 0; t < std::min(of.tokens, of.capacity - start(b)); ++t) {
      int64_t slot = ((b * of.kv_heads + k) * of.capacity + start(b) + t) * of.size;
      turn(head(b, t, of.heads + k), b, t, keys + slot);
      const float* value = head(b, t, of.heads + of.kv_heads + k);
      std::copy(value, value + of.size, values + slot);
    }
  }

  // The context of the queries of tokens [begin, end) that share key head k of row b; `queries` has room for them.
  void attend(int64_t b, int64_t k, int64_t begin, int64_t end, float* queries, float* scores,
              const float* nothing) const {
    int64_t size = of.size, rows = (end - begin) * group, most = seen(b, end - 1);
    int64_t first = (b * of.kv_heads + k) * of.capacity * size;
    for (int64_t row = 0; row < rows; ++row) {
      turn(head(b, begin + row / group, k * group + row % group), b, begin + row / group, queries + row * size);
    }
    few_rows_float().multiply(queries, rows, size, keys + first, most, nullptr, scores, most);
    for (int64_t row = 0; row < rows; ++row) {
      int64_t t = begin + row / group, count = seen(b, t);
      const float* bias = of.bias.data ? of.bias.at(b, k * group + row % group, t) : nothing;
      float* of_row = scores + row * most;
      softmax_float().forward(of_row, bias, nullptr, of.scale, of_row, count, RowMask{});
      std::fill(of_row + count, of_row + most, 0.0f);
    }
    mixes().mix(scores, most, rows, values + first, most, size, queries, size);
    for (int64_t row = 0; row < rows; row += group) {
      float* out = context + ((b * of.tokens + begin + row / group) * of.heads + k * group) * size;
      std::copy(queries + row * size, queries + (row + group) * size, out);
    }
  }
};

}  // namespace

ScoreBias::ScoreBias(const Tensor& given, int64_t capacity) : data(static_cast<const float*>(given.data)) {
  require(given.element == Element::float32 && given.rank == 4 && given.last() == capacity,
          "the bias of scores is float32 [., ., ., capacity]");
  of_token = given.at(2) > 1 ? capacity : 0;
  of_head = given.at(1) > 1 ? given.at(2) * capacity : 0;
  of_row = given.at(0) > 1 ? given.at(1) * given.at(2) * capacity : 0;
}

void CacheAttention::operator()(const float* fresh, float* keys, float* values, float* context) const {
  Work work{*this, fresh, keys, values, context};
  int64_t pairs = batch * kv_heads;
  if (slots) {
    for (int64_t b = 0; b < batch; ++b) require(work.start(b) >= 0 && work.start(b) < capacity, "a row is full");
    for_rows(pairs, tokens * size, [&](int64_t begin, int64_t end) {
      for (int64_t pair = begin; pair < end; ++pair) work.append(pair / kv_heads, pair % kv_heads);
    });
  }
  int64_t step = std::max<int64_t>(1, MOST_ROWS / work.group);
  int64_t blocks = (tokens + step - 1) / step, rows = std::min(step, tokens) * work.group;
  for_rows(pairs * blocks, rows * size * 64, [&](int64_t begin, int64_t end) {
    Buffer<float> queries(rows * size), scores(rows * capacity), nothing(capacity);
    std::fill(nothing + 0, nothing + capacity, 0.0f);
    for (int64_t i = begin; i < end; ++i) {
      int64_t pair = i / blocks, first = i % blocks * step;
      work.attend(pair / kv_heads, pair % kv_heads, first, std::min(first + step, tokens), queries, scores, nothing);
    }
  });
}

}  // namespace mindformers
