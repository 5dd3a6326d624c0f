// Attention without scores in memory: softmax(scale q k^T + biases) v block by block of queries, with dropout.
//
// Queries lie in one tensor [B, T, .] and keys and values in another [B, S, .], which may be the same (self-attention):
// the settings say where in a row each begins, so nothing is transposed or split. K heads of key and value serve N of
// the query, N / K neighbours each. For the backward pass the context and two numbers a row of scores are kept
// (Dao et al. 2022, arXiv:2205.14135, section 3.1), from which probabilities follow again. With a causal order, blocks
// of keys that no query of a block sees are left out.
//
// key_bias is float32 [1 or B, 1 or N, S, 1], score_bias float32 [1 or B, 1 or N, T, S]; cosines and sines of rotary
// positions are float32 [1 or B, 1, T, H] and turn queries and keys on the way.
#pragma once

#include <algorithm>
#include <cstring>

#include "convert.h"
#include "mask.h"
#include "matmul.h"

namespace mindformers {
namespace attention {

enum Settings {
  HEADS,
  KV_HEADS,
  HEAD_SIZE,
  QUERY_PLACE,
  KEY_PLACE,
  VALUE_PLACE,
  SCALE,
  IS_CAUSAL,
  HAS_SCORE_BIAS,
  TRAINS_SCORE_BIAS,
  ROTARY,  // 0 none, 1 halves, 2 interleaved
  RATE,
  FIRST_ROW
};

enum Inputs { QUERIES, KEYS_VALUES, KEY_BIAS, SCORE_BIAS, COSINES, SINES, ROW_WORDS, COLUMN_WORDS, KEPT };

constexpr int64_t MOST_BLOCK = 128;          // queries that are worked on together
constexpr int64_t BLOCK_SCORES = 96 * 1024;  // scores of a block, so that it stays in the cache of a core
constexpr int64_t MOST_WIDTHS = 8;           // different numbers of keys that blocks of a causal order see

inline const SoftmaxTable<float>& softmax(float) { return softmax_float(); }
inline const SoftmaxTable<bf16>& softmax(bf16) { return softmax_bf16(); }
inline const RotaryTable<float>& rotary(float) { return rotary_float(); }
inline const RotaryTable<bf16>& rotary(bf16) { return rotary_bf16(); }

inline void store(const float* from, float* to, int64_t count) { std::copy(from, from + count, to); }
inline void store(const float* from, bf16* to, int64_t count) { casts().narrow(from, to, count); }

inline int64_t rounded_up(int64_t number, int64_t step) { return (number + step - 1) / step * step; }

// One tensor's rows of heads: element (b, t, n, h) is at data + (b * length + t) * row + place + n * size + h.
struct Heads {
  int64_t length, row, place, size;

  int64_t at(int64_t b, int64_t t, int64_t n) const { return (b * length + t) * row + place + n * size; }
};

// A bias [1 or B, 1 or N, ., .] of `count` numbers for one b and n.
struct Bias {
  Bias(const Call& call, int number) : shape(call.tensor(number).shape), data(call.of<float>(number)) {
    count = call.tensor(number).size() / (shape[0] * shape[1]);
  }

  int64_t at(int64_t b, int64_t n) const {
    return ((shape[0] > 1 ? b : 0) * shape[1] + (shape[1] > 1 ? n : 0)) * count;
  }

  const int64_t* shape;
  float* data;
  int64_t count;
};

struct Sizes {
  explicit Sizes(const Call& call) : settings(call.settings_place()) {
    auto setting = [&](int place) { return int64_t(call.setting(settings, place)); };
    Tensor q = call.tensor(QUERIES), kv = call.tensor(KEYS_VALUES);
    require(q.rank == 3 && kv.rank == 3 && q.at(0) == kv.at(0), "queries, keys and values are [B, length, width]");
    batch = q.at(0), queries = q.at(1), keys = kv.at(1);
    heads = setting(HEADS), kv_heads = setting(KV_HEADS), size = setting(HEAD_SIZE), group = heads / kv_heads;
    query = {queries, q.at(2), setting(QUERY_PLACE), size};
    key = {keys, kv.at(2), setting(KEY_PLACE), size};
    value = {keys, kv.at(2), setting(VALUE_PLACE), size};
    context = {queries, heads * size, 0, size};
    require(query.place + heads * size <= query.row && key.place + kv_heads * size <= key.row &&
                value.place + kv_heads * size <= value.row,
            "the heads do not fit into the rows");
    is_causal = setting(IS_CAUSAL) != 0, has_score_bias = setting(HAS_SCORE_BIAS) != 0;
    trains_score_bias = setting(TRAINS_SCORE_BIAS) != 0;
    rotates = setting(ROTARY) != 0, interleaved = setting(ROTARY) == 2;
    require(!rotates || queries == keys, "rotary positions need as many keys as queries");
    require(!is_causal || queries <= keys, "a causal order needs a key for each query");
    scale = float(call.setting(settings, SCALE)), rate = call.setting(settings, RATE), first_row = setting(FIRST_ROW);
    stride = rounded_up(keys, 16);
    block = std::max<int64_t>(16, std::min(MOST_BLOCK, BLOCK_SCORES / stride / 16 * 16));
    width_step = std::max(rounded_up((keys + MOST_WIDTHS - 1) / MOST_WIDTHS, 16), block);
  }

  // Number of keys that query t sees, and of those that a block ending before t is worked out with.
  int64_t seen(int64_t t) const { return is_causal ? keys - queries + t + 1 : keys; }
  int64_t width(int64_t end) const { return std::min(keys, rounded_up(seen(end - 1), width_step)); }

  int settings;
  int64_t batch, queries, keys, heads, kv_heads, size, group;
  Heads query, key, value, context;
  bool is_causal, has_score_bias, trains_score_bias, rotates, interleaved;
  float scale;
  double rate;
  int64_t first_row, stride, block, width_step;
};

// What forward and backward pass read alike.
template <class T>
struct Attention : Sizes {
  explicit Attention(const Call& call)
      : Sizes(call),
        q(call.of<T>(QUERIES)),
        kv(call.of<T>(KEYS_VALUES)),
        key_bias(call, KEY_BIAS),
        score_bias(call, has_score_bias ? SCORE_BIAS : KEY_BIAS),
        mask(call, ROW_WORDS, rate, first_row, batch * heads * queries, keys) {
    require(key_bias.count == keys, "the bias of keys does not fit them");
    require(!has_score_bias || score_bias.count == queries * keys, "the bias of scores does not fit them");
    if (!rotates) return;
    cosines = call.of<float>(COSINES), sines = call.of<float>(SINES);
    angle_rows = call.tensor(COSINES).at(0) > 1 ? queries * size : 0;
  }

  // Turn `count` rows of a head from position t of sample b on; `sign` -1 turns them back.
  template <class E>
  void turn(const E* from, int64_t from_row, int64_t b, int64_t t, int64_t count, float sign, E* to,
            int64_t to_row) const {
    for (int64_t i = 0; i < count; ++i) {
      int64_t angle = b * angle_rows + (t + i) * size;
      rotary(E()).rotate(from + i * from_row, cosines + angle, sines + angle, sign, interleaved, to + i * to_row, size);
    }
  }

  // A matrix of some rows of a head: where it is and how far its rows are apart.
  struct Rows {
    const T* data;
    int64_t row;
  };

  // Rows of a head, turned into `buffer` where positions are rotary.
  Rows read(const T* tensor, const Heads& layout, int64_t b, int64_t t, int64_t n, int64_t count, T* buffer) const {
    const T* data = tensor + layout.at(b, t, n);
    if (!rotates) return {data, layout.row};
    turn(data, layout.row, b, t, count, 1.0f, buffer, size);
    return {buffer, size};
  }

  RowMask row_mask(int64_t b, int64_t n, int64_t t) const { return mask.row((b * heads + n) * queries + t); }

  const float* score_bias_row(int64_t b, int64_t n, int64_t t) const {
    return has_score_bias ? score_bias.data + score_bias.at(b, n) + t * keys : nullptr;
  }

  // Scores of a block of queries: products with `width` rows that are `right_row` apart.
  void products(Rows left, int64_t count, Rows right, int64_t width, float* scores) const {
    MatmulShape shape{count, width, size, by_rows(left.row), by_columns(right.row), stride, ElementOf<T>::value,
                      Element::float32};
    shape.alone = true;
    (*matmul(shape))(left.data, right.data, scores);
  }

  // out[count, size] = weights[count, width] rows[width, size].
  void mix(const T* weights, int64_t count, Rows rows, int64_t width, void* out, int64_t out_row, Element type) const {
    MatmulShape shape{count, size, width, by_rows(stride), by_rows(rows.row), out_row, ElementOf<T>::value, type};
    shape.alone = true;
    (*matmul(shape))(weights, rows.data, out);
  }

  // out[width, size] (+)= weights[count, width]^T rows[count, size].
  void mix_transposed(const T* weights, int64_t count, Rows rows, int64_t width, float* out, bool accumulates) const {
    MatmulShape shape{width, size, count, by_columns(stride), by_rows(rows.row), size, ElementOf<T>::value,
                      Element::float32};
    shape.accumulates = accumulates;
    shape.alone = true;
    (*matmul(shape))(weights, rows.data, out);
  }

  const T *q, *kv;
  Bias key_bias, score_bias;
  Mask mask;
  const float *cosines = nullptr, *sines = nullptr;
  int64_t angle_rows = 0;
};

}  // namespace attention
}  // namespace mindformers
