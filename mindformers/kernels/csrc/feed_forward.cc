// down(dropout(activation(up(x)))), or with a gate down(dropout(activation(gate(x)) * up(x))).
//
// x is [..., D]; weights are float32: gate (if any) and up [F, D], down [D, F]. What is kept for the backward pass is
// the result of the first products, before the activation: [rows, F], or [rows, 2 F] with the gate's first. Its type T
// is the one that products are computed in, and may be bfloat16 for an x in float32, whose gradient is then float32 too.
#include <algorithm>
#include <cstring>

#include "affine.h"
#include "mask.h"

namespace mindformers {
namespace {

enum Settings { GATED, HAS_BIAS, KIND, RATE, FIRST_ROW };

const ActivationTable<float>& activations(float) { return activations_float(); }
const ActivationTable<bf16>& activations(bf16) { return activations_bf16(); }

struct Choices {
  explicit Choices(const Call& call) : place(call.settings_place()) {
    gated = call.setting(place, GATED) != 0;
    has_bias = call.setting(place, HAS_BIAS) != 0;
    kind = Activation(int(call.setting(place, KIND)));
    first_row = int64_t(call.setting(place, FIRST_ROW));
    rate = call.setting(place, RATE);
    inner = gated ? 2 : 1;
  }

  int place, inner;  // of the settings; number of weights before the activation
  bool gated, has_bias;
  Activation kind;
  int64_t first_row;
  double rate;
};

// x, gate, up, down, biases of all or none, row words, column words, settings -> y, pre
template <class T>
void forward(const Call& call, const Choices& choices) {
  int inner = choices.inner, biases = choices.has_bias ? inner + 1 : 0, words = 2 + inner + biases;
  Tensor x = call.tensor(0), y = call.tensor(choices.place + 1);
  Layers up{1, inner, choices.has_bias ? 2 + inner : Layers::NONE};
  Layers down{1 + inner, 1, choices.has_bias ? 2 + 2 * inner : Layers::NONE};
  int64_t rows = x.rows(), width = call.tensor(down.first).last(), pre_width = inner * width;
  for (int i = 0; i < inner; ++i) {
    require(call.tensor(up.first + i).rows() == width && call.tensor(up.first + i).last() == x.last(),
            "x and the weights do not fit together");
  }
  require(y.last() == call.tensor(down.first).rows(), "the result and the last weight do not fit together");
  Mask mask(call, words, choices.rate, choices.first_row, rows, width);
  T* pre = call.of<T>(choices.place + 2);
  project<T>(call, up, As<T>(x), rows, pre, ElementOf<T>::value);
  Buffer<T> hidden(rows * width);
  for_rows(rows, width, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const T* from = pre + row * pre_width;
      activations(T()).forward(choices.kind, from, choices.gated ? from + width : nullptr, hidden + row * width, width,
                               mask.row(row));
    }
  });
  project<T>(call, down, hidden, rows, y.data, y.element);
}

// x, gate, up, down, pre, row words, column words, grad, settings -> gradients of x, gate, up, down and the biases
template <class T>
void backward(const Call& call, const Choices& choices) {
  int inner = choices.inner, outputs = choices.place + 1, grad_place = 5 + inner;
  Tensor grad_x = call.tensor(outputs);
  As<T> x(call.tensor(0));
  Weights<T> up(call, 1, inner), down(call, 1 + inner, 1);
  const T* pre = call.of<T>(2 + inner);
  As<T> grad(call.tensor(grad_place));
  int64_t rows = grad_x.rows(), width = down.in;
  Mask mask(call, 3 + inner, choices.rate, choices.first_row, rows, width);
  Buffer<T> hidden(rows * width), grad_pre(rows * up.out);
  project_back<T>(grad, rows, down.out, down, width, grad_pre, up.out);
  Buffer<float> sums(SUM_PIECES * up.out);
  int64_t pieces = for_sum_pieces(rows, [&](int64_t piece, int64_t begin, int64_t end) {
    float* sum = sums + piece * up.out;
    std::memset(sum, 0, up.out * sizeof(float));
    for (int64_t row = begin; row < end; ++row) {
      const T* from = pre + row * up.out;
      T* to = grad_pre + row * up.out;
      activations(T()).backward(choices.kind, from, choices.gated ? from + width : nullptr, hidden + row * width, to,
                                to + width, sum, sum + width, width, mask.row(row));
    }
  });
  weight_gradient<T>(grad, down.out, rows, down.out, hidden, width, call.of<float>(outputs + 1 + inner));
  for (int i = 0; i < inner; ++i) {
    weight_gradient<T>(grad_pre + i * width, up.out, rows, width, x, up.in,
                       call.of<float>(outputs + 1 + i));
  }
  project_back<T>(grad_pre, rows, up.out, up, up.in, grad_x.data, up.in, grad_x.element);
  if (!choices.has_bias) return;
  Buffer<float> up_sums(up.out);
  sum_pieces(sums, pieces, up.out, up_sums);
  for (int i = 0; i < inner; ++i) {
    std::copy(up_sums + i * width, up_sums + (i + 1) * width, call.of<float>(outputs + 2 + inner + i));
  }
  column_sums<T>(grad, rows, down.out, call.of<float>(outputs + 2 + 2 * inner));
}

}  // namespace
}  // namespace mindformers

KERNEL(mindformers_feed_forward_forward) {
  mindformers::Choices choices(call);
  bool is_narrow = call.is_narrow(choices.place + 2);
  (is_narrow ? mindformers::forward<mindformers::bf16> : mindformers::forward<float>)(call, choices);
}

KERNEL(mindformers_feed_forward_backward) {
  mindformers::Choices choices(call);
  bool is_narrow = call.is_narrow(2 + choices.inner);
  (is_narrow ? mindformers::backward<mindformers::bf16> : mindformers::backward<float>)(call, choices);
}
