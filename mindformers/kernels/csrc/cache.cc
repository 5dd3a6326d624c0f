// Attention of new tokens to keys and values that stay where they are while a text is written.
//
// Both caches are float32 [B * K * C, H]: C slots for each of K heads of B rows; a token's slot is its place in its row.
// Of new tokens queries, keys and values stand side by side in one tensor [B, T, (N + 2 K) H]; keys and values are
// written into their slots in place, and each query sees the slots up to its own. Without new keys the queries alone,
// [B, T, N H], see all slots. `places`, int32 [B K T], says where in the caches new keys lie; score_bias, float32
// [1 or B, 1 or N, 1 or T, C], is added to scores; cosines and sines, float32 [1 or B, 1, T, H], turn queries and keys.
#include <algorithm>
#include <cstring>

#include "convert.h"
#include "vector/few_rows.h"

namespace mindformers {
namespace {

enum Settings { HEADS, KV_HEADS, HEAD_SIZE, CAPACITY, SCALE, APPENDS, HAS_BIAS, ROTARY };  // 0 none, 1 halves, 2 pairs
enum Inputs { NEW, KEYS, VALUES, PLACES, SCORE_BIAS, COSINES, SINES };

constexpr int64_t MOST_ROWS = 16;  // queries that are worked on together, so that keys are read once for all

struct Cache {
  explicit Cache(const Call& call) : settings(call.settings_place()) {
    auto setting = [&](int place) { return int64_t(call.setting(settings, place)); };
    Tensor given = call.tensor(NEW);
    require(given.rank == 3, "new tokens are [B, T, width]");
    heads = setting(HEADS), kv_heads = setting(KV_HEADS), size = setting(HEAD_SIZE), capacity = setting(CAPACITY);
    batch = given.at(0), tokens = given.at(1), width = given.last(), group = heads / kv_heads;
    appends = setting(APPENDS) != 0, interleaved = setting(ROTARY) == 2;
    scale = float(call.setting(settings, SCALE));
    fresh = call.of<float>(NEW), keys = call.of<float>(KEYS), values = call.of<float>(VALUES);
    context = call.of<float>(settings + 1);
    int64_t room = batch * kv_heads * capacity * size;
    require(width == (heads + (appends ? 2 * kv_heads : 0)) * size, "the heads do not fit into the rows");
    require(call.tensor(KEYS).size() == room && call.tensor(VALUES).size() == room, "the caches do not fit");
    if (appends) {
      places = call.of<int32_t>(PLACES);
      require(call.tensor(PLACES).size() == batch * kv_heads * tokens, "there is not a place for each new key");
      for (int64_t b = 0; b < batch; ++b) require(start(b) >= 0 && start(b) < capacity, "a row is full");
    }
    if (setting(HAS_BIAS)) {
      Tensor bias = call.tensor(SCORE_BIAS);
      require(bias.rank == 4 && bias.last() == capacity, "the bias of scores is [., ., ., capacity]");
      score_bias = call.of<float>(SCORE_BIAS);
      bias_token = bias.at(2) > 1 ? capacity : 0, bias_head = bias.at(1) > 1 ? bias.at(2) * capacity : 0;
      bias_row = bias.at(0) > 1 ? bias.at(1) * bias.at(2) * capacity : 0;
    }
    if (setting(ROTARY)) {
      cosines = call.of<float>(COSINES), sines = call.of<float>(SINES);
      angle_row = call.tensor(COSINES).at(0) > 1 ? tokens * size : 0;
    }
  }

  // The slot of the first new token of row b.
  int64_t start(int64_t b) const { return places[b * kv_heads * tokens] - b * kv_heads * capacity; }

  // Number of slots that query t of row b sees.
  int64_t seen(int64_t b, int64_t t) const { return appends ? std::min(start(b) + t + 1, capacity) : capacity; }

  // Head n of token t of row b among the new ones: queries first, then keys, then values.
  const float* head(int64_t b, int64_t t, int64_t n) const { return fresh + (b * tokens + t) * width + n * size; }

  // Copy a head, turned by the angle of its token.
  void turn(const float* from, int64_t b, int64_t t, float* to) const {
    if (!cosines) {
      std::copy(from, from + size, to);
      return;
    }
    int64_t angle = b * angle_row + t * size;
    rotary_float().rotate(from, cosines + angle, sines + angle, 1.0f, interleaved, to, size);
  }

  // Keep keys and values of head k of row b; tokens beyond the last slot are padding.
  void append(int64_t b, int64_t k) const {
    for (int64_t t = 0; t < std::min(tokens, capacity - start(b)); ++t) {
      int64_t slot = ((b * kv_heads + k) * capacity + start(b) + t) * size;
      turn(head(b, t, heads + k), b, t, keys + slot);
      const float* value = head(b, t, heads + kv_heads + k);
      std::copy(value, value + size, values + slot);
    }
  }

  // The context of the queries of tokens [begin, end) that share key head k of row b; `queries` has room for them.
  void attend(int64_t b, int64_t k, int64_t begin, int64_t end, float* queries, float* scores,
              const float* nothing) const {
    int64_t rows = (end - begin) * group, most = seen(b, end - 1), first = (b * kv_heads + k) * capacity * size;
    for (int64_t row = 0; row < rows; ++row) {
      turn(head(b, begin + row / group, k * group + row % group), b, begin + row / group, queries + row * size);
    }
    few_rows_float().multiply(queries, rows, size, keys + first, most, nullptr, scores, most);
    for (int64_t row = 0; row < rows; ++row) {
      int64_t t = begin + row / group, n = k * group + row % group, count = seen(b, t);
      const float* bias = score_bias ? score_bias + b * bias_row + n * bias_head + t * bias_token : nothing;
      float* of_row = scores + row * most;
      softmax_float().forward(of_row, bias, nullptr, scale, of_row, count, RowMask{});
      std::fill(of_row + count, of_row + most, 0.0f);
    }
    mixes().mix(scores, most, rows, values + first, most, size, queries, size);
    for (int64_t row = 0; row < rows; row += group) {
      float* out = context + ((b * tokens + begin + row / group) * heads + k * group) * size;
      std::copy(queries + row * size, queries + (row + group) * size, out);
    }
  }

  int settings;
  int64_t batch, tokens, width, heads, kv_heads, group, size, capacity;
  bool appends, interleaved;
  float scale;
  const float* fresh;
  float *keys, *values, *context;
  const int32_t* places = nullptr;
  const float *score_bias = nullptr, *cosines = nullptr, *sines = nullptr;
  int64_t bias_token = 0, bias_head = 0, bias_row = 0, angle_row = 0;
};

}  // namespace
}  // namespace mindformers

// new, keys, values, places, score_bias, cosines, sines, settings -> context [B, T, N H]; what has no use is any tensor
KERNEL(mindformers_cache) {
  using namespace mindformers;
  Cache cache(call);
  int64_t pairs = cache.batch * cache.kv_heads, capacity = cache.capacity, size = cache.size;
  if (cache.appends) {
    for_rows(pairs, cache.tokens * size, [&](int64_t begin, int64_t end) {
      for (int64_t pair = begin; pair < end; ++pair) cache.append(pair / cache.kv_heads, pair % cache.kv_heads);
    });
  }
  int64_t step = std::max<int64_t>(1, MOST_ROWS / cache.group);
  int64_t blocks = (cache.tokens + step - 1) / step, rows = std::min(step, cache.tokens) * cache.group;
  for_rows(pairs * blocks, rows * size * 64, [&](int64_t begin, int64_t end) {
    Buffer<float> queries(rows * size), scores(rows * capacity), nothing(capacity);
    std::fill(nothing + 0, nothing + capacity, 0.0f);
    for (int64_t i = begin; i < end; ++i) {
      int64_t pair = i / blocks, first = i % blocks * step;
      cache.attend(pair / cache.kv_heads, pair % cache.kv_heads, first, std::min(first + step, cache.tokens), queries,
                   scores, nothing);
    }
  });
}
