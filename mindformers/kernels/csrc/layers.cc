// All layers of a decoder for the newest tokens of texts whose keys and values are kept: x + attention(norm(x)), then,
// with an encoder, x + attention to it, and x + feed-forward(norm(x)).
//
// x is float32 [B, T, D], and so is the result. Every layer brings its weights in the order of `Places`; what a decoder
// has not is any tensor. Weights are float32, bfloat16 or int8. Products of few rows are computed in float32, others in
// bfloat16 if the settings say so. Attention, norms and sums are float32.
#include <algorithm>

#include "affine.h"
#include "cache.h"

namespace mindformers {
namespace {

enum Inputs { X, SLOTS, SCORE_BIAS, COSINES, SINES, MEMORY_BIAS, FIRST_LAYER };
enum Settings {
  HEADS, KV_HEADS, HEAD_SIZE, SCALE, ROTARY, HAS_SCORE_BIAS, CAPACITY, MEMORY_CAPACITY,  // 0 is no memory
  IS_CENTRED, EPS, HAS_QKV_BIAS, HAS_OUT_BIAS, HAS_MLP_BIAS, IS_GATED, ACTIVATION, IS_NARROW
};

// Arguments of a layer, in three groups; only a decoder that attends to an encoder has the second.
enum SelfPlaces { NORM, NORM_BIAS, Q, K, V, Q_BIAS, K_BIAS, V_BIAS, O, O_BIAS, KEYS, VALUES, SELF_PLACES };
enum CrossPlaces { CROSS_NORM, CROSS_NORM_BIAS, CROSS_Q, CROSS_Q_BIAS, CROSS_O, CROSS_O_BIAS, MEMORY_KEYS,
                   MEMORY_VALUES, CROSS_PLACES };
enum MlpPlaces { MLP_NORM, MLP_NORM_BIAS, GATE, UP, DOWN, GATE_BIAS, UP_BIAS, DOWN_BIAS, MLP_PLACES };

const ActivationTable<float>& activations(float) { return activations_float(); }
const ActivationTable<bf16>& activations(bf16) { return activations_bf16(); }
const NormFloat& norms(float) { return norms_float(); }
const NormNarrow& norms(bf16) { return norms_narrow(); }

// T is the type of products.
template <class T>
class Decoder {
 public:
  explicit Decoder(const Call& call)
      : call_(call), place_(call.settings_place()), width_(call.tensor(X).last()), rows_(call.tensor(X).rows()),
        out_(call.of<float>(place_ + 1)) {
    Tensor x = call.tensor(X);
    require(x.rank == 3, "x is [B, T, D]");
    int64_t capacity = setting(CAPACITY), memory_capacity = setting(MEMORY_CAPACITY);
    CacheAttention common{x.at(0), x.at(1), setting(HEADS), setting(KV_HEADS), setting(HEAD_SIZE), capacity,
                          float(call.setting(place_, SCALE)), nullptr, {}, {}};
    self_ = common, cross_ = common;
    self_.slots = call.of<int32_t>(SLOTS);
    require(call.tensor(SLOTS).size() == rows_, "there is not a slot for each new token");
    if (setting(HAS_SCORE_BIAS)) self_.bias = ScoreBias(call.tensor(SCORE_BIAS), capacity);
    if (int64_t kind = setting(ROTARY)) {
      int64_t of_row = call.tensor(COSINES).at(0) > 1 ? self_.tokens * self_.size : 0;
      self_.angles = {call.of<float>(COSINES), call.of<float>(SINES), of_row, kind == 2};
    }
    if (memory_capacity) {
      cross_.capacity = memory_capacity;
      cross_.bias = ScoreBias(call.tensor(MEMORY_BIAS), memory_capacity);
    }
    std::copy(call.of<float>(X), call.of<float>(X) + rows_ * width_, out_);
  }

  void run() {
    bool has_memory = setting(MEMORY_CAPACITY) != 0;
    int first = FIRST_LAYER, places = SELF_PLACES + (has_memory ? CROSS_PLACES : 0) + MLP_PLACES;
    require((place_ - first) % places == 0, "there are not as many weights as the layers have");
    while (first < place_) {
      attend(self_, first, {first + Q, 3, bias(HAS_QKV_BIAS, first + Q_BIAS)}, first + O, first + KEYS);
      first += SELF_PLACES;
      if (has_memory) {
        Layers query{first + CROSS_Q, 1, bias(HAS_QKV_BIAS, first + CROSS_Q_BIAS)};
        attend(cross_, first, query, first + CROSS_O, first + MEMORY_KEYS);
        first += CROSS_PLACES;
      }
      feed_forward(first);
      first += MLP_PLACES;
    }
  }

 private:
  int64_t setting(Settings place) const { return int64_t(call_.setting(place_, place)); }

  int bias(Settings has, int place) const { return setting(has) ? place : Layers::NONE; }

  // Outputs of some weights, which take `in` inputs.
  int64_t outputs(const Layers& layers, int64_t in) const {
    int64_t out = 0;
    for (int i = layers.first; i < layers.first + layers.number; ++i) {
      require(call_.tensor(i).rank == 2 && call_.tensor(i).columns() == in, "a weight does not fit its input");
      out += call_.tensor(i).rows();
    }
    return out;
  }

  // The output so far, normed by arguments `first` and, if the norm is centred, `first + 1`.
  void norm(int first, T* normed) const {
    require(call_.tensor(first).size() == width_, "the weight of a norm does not fit its rows");
    bool is_centred = setting(IS_CENTRED) != 0;
    As<float> weight(call_.tensor(first)), bias(call_.tensor(is_centred ? first + 1 : first));
    float eps = float(call_.setting(place_, EPS));
    for_rows(rows_, width_, [&](int64_t begin, int64_t end) {
      Buffer<float> row(width_);
      for (int64_t i = begin; i < end; ++i) {
        std::copy(out_ + i * width_, out_ + (i + 1) * width_, row + 0);
        norms(T()).forward(row, weight, is_centred ? static_cast<const float*>(bias) : nullptr, eps,
                           normed + i * width_, width_);
      }
    });
  }

  // Add the products of `x` [rows, in] with one weight to the output.
  void add(const Layers& layers, const T* x, int64_t in) {
    require(outputs(layers, in) == width_, "a weight does not fit the residual stream");
    Buffer<float> branch(rows_ * width_);
    project<T>(call_, layers, x, rows_, branch, Element::float32);
    for_rows(rows_, width_, [&](int64_t begin, int64_t end) {
      casts().add_float(branch + begin * width_, out_ + begin * width_, (end - begin) * width_);
    });
  }

  // Add attention with its norm at `norm_place`, its weights `layers` and at `o`, and its cache at `keys`.
  void attend(const CacheAttention& attention, int norm_place, const Layers& layers, int o, int keys) {
    int64_t width = attention.width(), inner = attention.heads * attention.size;
    int64_t room = attention.batch * attention.kv_heads * attention.capacity * attention.size;
    require(outputs(layers, width_) == width, "the heads do not fit into the rows");
    require(call_.tensor(keys).size() == room && call_.tensor(keys + 1).size() == room, "the caches do not fit");
    Buffer<T> normed(rows_ * width_);
    norm(norm_place, normed);
    Buffer<float> fresh(rows_ * width), context(rows_ * inner);
    project<T>(call_, layers, normed, rows_, fresh, Element::float32);
    attention(fresh, call_.of<float>(keys), call_.of<float>(keys + 1), context);
    int64_t count = rows_ * inner;
    add({o, 1, bias(HAS_OUT_BIAS, o + 1)}, As<T>({context, 1, &count, Element::float32}), inner);
  }

  void feed_forward(int first) {
    bool gated = setting(IS_GATED) != 0;
    int up = first + (gated ? GATE : UP), inner = gated ? 2 : 1;
    Layers layers{up, inner, bias(HAS_MLP_BIAS, up + GATE_BIAS - GATE)};
    int64_t pre_width = outputs(layers, width_), width = pre_width / inner;
    require(call_.tensor(up).rows() == width, "a gate has as many outputs as what it gates");
    Buffer<T> normed(rows_ * width_), pre(rows_ * pre_width), hidden(rows_ * width);
    norm(first + MLP_NORM, normed);
    project<T>(call_, layers, normed, rows_, pre, ElementOf<T>::value);
    auto kind = Activation(setting(ACTIVATION));
    for_rows(rows_, width, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const T* from = pre + row * pre_width;
        activations(T()).forward(kind, from, gated ? from + width : nullptr, hidden + row * width, width, RowMask{});
      }
    });
    add({first + DOWN, 1, bias(HAS_MLP_BIAS, first + DOWN_BIAS)}, hidden, width);
  }

  const Call& call_;
  int place_;  // of the settings
  int64_t width_, rows_;
  float* out_;
  CacheAttention self_, cross_;
};

}  // namespace
}  // namespace mindformers

// x, slots, score bias, cosines, sines, memory bias, weights and caches of the layers, settings -> x after them
KERNEL(mindformers_layers) {
  using namespace mindformers;
  bool is_narrow = call.setting(call.settings_place(), IS_NARROW) != 0;
  if (is_narrow && call.tensor(X).rows() > FEW_ROWS) return Decoder<bf16>(call).run();
  Decoder<float>(call).run();
}
