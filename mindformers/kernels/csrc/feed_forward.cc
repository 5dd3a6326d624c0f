// down(dropout(activation(up(x)))), or with a gate down(dropout(activation(gate(x)) * up(x))).
//
// x is [..., D]; weights are float32, bfloat16 or, in the forward pass, int8: gate (if any) and up [F, D], down [D, F].
// What is kept for the backward pass is the result of the first products, before the activation: [rows, F], or [rows,
// 2 F] with the gate's first. Its type T is the one that products are computed in, and may be bfloat16 for an x in
// float32, whose gradient is then float32 too. Every argument has its place; a gate or biases that there are not are
// neither read nor written.
#include <algorithm>
#include <cstring>

#include "affine.h"
#include "mask.h"

namespace mindformers {
namespace {

enum Settings { GATED, HAS_BIAS, KIND, RATE, FIRST_ROW };
enum Inputs { X, GATE, UP, DOWN };
enum ForwardOnly { GATE_BIAS = DOWN + 1, UP_BIAS, DOWN_BIAS, ROW_WORDS };
enum BackwardOnly { PRE = DOWN + 1, PRE_ROW_WORDS, PRE_COLUMN_WORDS, GRAD };

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
    first = gated ? GATE : UP;
  }

  // The place of an output of the backward pass that belongs to argument `of` of the forward pass.
  int gradient(int of) const { return place + 1 + of; }

  int place;         // of the settings
  int first, inner;  // of the weights before the activation; their number
  bool gated, has_bias;
  Activation kind;
  int64_t first_row;
  double rate;
};

// x, gate, up, down, biases of these, row words, column words, settings -> y, pre
template <class T>
void forward(const Call& call, const Choices& choices) {
  int inner = choices.inner, to_bias = GATE_BIAS - GATE;
  Tensor x = call.tensor(X), y = call.tensor(choices.place + 1);
  Layers up{choices.first, inner, choices.has_bias ? choices.first + to_bias : Layers::NONE};
  Layers down{DOWN, 1, choices.has_bias ? DOWN_BIAS : Layers::NONE};
  int64_t rows = x.rows(), width = call.tensor(down.first).columns(), pre_width = inner * width;
  for (int i = 0; i < inner; ++i) {
    require(call.tensor(up.first + i).rows() == width && call.tensor(up.first + i).columns() == x.last(),
            "x and the weights do not fit together");
  }
  require(y.last() == call.tensor(down.first).rows(), "the result and the last weight do not fit together");
  Mask mask(call, ROW_WORDS, choices.rate, choices.first_row, rows, width);
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
  int inner = choices.inner;
  Tensor grad_x = call.tensor(choices.gradient(X));
  As<T> x(call.tensor(X));
  for (int i = choices.first; i <= DOWN; ++i) require(call.tensor(i).element != Element::int8, NO_GRADIENT);
  Weights<T> up(call, choices.first, inner), down(call, DOWN, 1);
  const T* pre = call.of<T>(PRE);
  As<T> grad(call.tensor(GRAD));
  int64_t rows = grad_x.rows(), width = down.in;
  Mask mask(call, PRE_ROW_WORDS, choices.rate, choices.first_row, rows, width);
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
  weight_gradient<T>(grad, down.out, rows, down.out, hidden, width, call.of<float>(choices.gradient(DOWN)));
  for (int i = 0; i < inner; ++i) {
    weight_gradient<T>(grad_pre + i * width, up.out, rows, width, x, up.in,
                       call.of<float>(choices.gradient(choices.first + i)));
  }
  project_back<T>(grad_pre, rows, up.out, up, up.in, grad_x.data, up.in, grad_x.element);
  if (!choices.has_bias) return;
  Buffer<float> up_sums(up.out);
  sum_pieces(sums, pieces, up.out, up_sums);
  for (int i = 0; i < inner; ++i) {
    float* bias = call.of<float>(choices.gradient(choices.first + GATE_BIAS - GATE + i));
    std::copy(up_sums + i * width, up_sums + (i + 1) * width, bias);
  }
  column_sums<T>(grad, rows, down.out, call.of<float>(choices.gradient(DOWN_BIAS)));
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
  bool is_narrow = call.is_narrow(mindformers::PRE);
  (is_narrow ? mindformers::backward<mindformers::bf16> : mindformers::backward<float>)(call, choices);
}
