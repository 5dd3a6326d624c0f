// x weight^T + bias, for one weight or several that read the same x (queries, keys and values).
//
// x is [..., in], a weight [out, in] float32, bfloat16 or, in the forward pass, int8, a bias [out] float32 or bfloat16;
// the result has the outputs of all weights side by side. Its type T is the one that products are computed in, and may
// be bfloat16 for an x in float32, whose gradient is then float32 too. Gradients of weights and biases are float32.
#include "affine.h"

namespace mindformers {
namespace {

enum Settings { WEIGHTS, HAS_BIAS };

// x, weights, as many biases, settings -> y
template <class T>
void forward(const Call& call, int weights, bool has_bias) {
  Tensor y = call.tensor(call.count() - 1);
  As<T> x(call.tensor(0));
  int64_t out = 0;
  for (int i = 0; i < weights; ++i) out += call.tensor(1 + i).rows();
  require(call.tensor(0).last() == call.tensor(1).columns() && y.last() == out,
          "x, weights and result do not fit together");
  project<T>(call, {1, weights, has_bias ? 1 + weights : Layers::NONE}, x, y.rows(), y.data, y.element);
}

// x, weights, grad, settings -> gradients of x, the weights and the biases, which are not written when there are none
template <class T>
void backward(const Call& call, int weights, bool has_bias) {
  Tensor grad_x = call.tensor(weights + 3);
  int64_t rows = grad_x.rows();
  int outputs = weights + 3;
  As<T> x(call.tensor(0));
  for (int i = 0; i < weights; ++i) require(call.tensor(1 + i).element != Element::int8, NO_GRADIENT);
  Weights<T> weight(call, 1, weights);
  const T* grad = call.of<T>(1 + weights);
  require(call.tensor(1 + weights).last() == weight.out, "the gradient does not fit the weights");
  project_back<T>(grad, rows, weight.out, weight, weight.in, grad_x.data, weight.in, grad_x.element);
  int64_t first = 0;
  for (int i = 0; i < weights; ++i) {
    weight_gradient<T>(grad + first, weight.out, rows, weight.outs[i], x, weight.in,
                       call.of<float>(outputs + 1 + i));
    first += weight.outs[i];
  }
  if (!has_bias) return;
  Buffer<float> sums(weight.out);
  column_sums<T>(grad, rows, weight.out, sums);
  const float* from = sums;
  for (int i = 0; i < weights; ++i) {
    std::copy(from, from + weight.outs[i], call.of<float>(outputs + 1 + weights + i));
    from += weight.outs[i];
  }
}

}  // namespace
}  // namespace mindformers

KERNEL(mindformers_linear_forward) {
  int settings = call.count() - 2;
  int weights = int(call.setting(settings, mindformers::WEIGHTS));
  bool has_bias = call.setting(settings, mindformers::HAS_BIAS) != 0;
  auto run = call.is_narrow(settings + 1) ? mindformers::forward<mindformers::bf16> : mindformers::forward<float>;
  run(call, weights, has_bias);
}

KERNEL(mindformers_linear_backward) {
  int settings = call.settings_place();
  int weights = int(call.setting(settings, mindformers::WEIGHTS));
  bool has_bias = call.setting(settings, mindformers::HAS_BIAS) != 0;
  auto run = call.is_narrow(settings - 1) ? mindformers::backward<mindformers::bf16> : mindformers::backward<float>;
  run(call, weights, has_bias);
}
