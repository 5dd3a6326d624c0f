// Functions on rows of elements, by table; T is float or bf16, arithmetic is float32 throughout.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../element.h"
#include "isa.h"

namespace mindformers {

enum class Activation { gelu, gelu_tanh, quick_gelu, relu, silu };

// Which elements of a row stay: those whose word, `row` times that of the column, is at least `kept_from`; they are
// scaled by `scale`. Without columns all stay as they are (nn/dropout.py).
struct RowMask {
  uint32_t row;
  const int32_t* columns;
  int32_t kept_from;
  float scale;
};

struct CastTable {
  void (*widen)(const bf16* from, float* to, size_t count);
  void (*narrow)(const float* from, bf16* to, size_t count);
  // A row of int8 with its scale behind it.
  void (*expand)(const int8_t* row, float* to, size_t count);
  void (*expand_narrow)(const int8_t* row, bf16* to, size_t count);
  void (*add_float)(const float* from, float* sum, size_t count);
  void (*add_bf16)(const bf16* from, float* sum, size_t count);
};
TABLE(CastTable, casts)

template <class T>
struct ActivationTable {
  // hidden = dropout(activation(pre) [* up]); `up` may be null.
  void (*forward)(Activation kind, const T* pre, const T* up, T* hidden, size_t count, RowMask mask);
  // From `grad` of hidden: hidden anew, the gradients of pre (into `grad`) and up, and their sums over rows. A sum, and
  // with it the gradient of up, may be null.
  void (*backward)(Activation kind, const T* pre, const T* up, T* hidden, T* grad, T* grad_up, float* sum,
                   float* sum_up, size_t count, RowMask mask);
};
TABLE(ActivationTable<float>, activations_float)
TABLE(ActivationTable<bf16>, activations_bf16)

// Statistics of one row of scores, from which its probabilities follow again.
struct SoftmaxRow {
  float most, inverse_sum;
};

template <class T>
struct SoftmaxTable {
  // Probabilities, dropped out, of scale * scores + key_bias [+ score_bias]; overwrites `scores`.
  SoftmaxRow (*forward)(float* scores, const float* key_bias, const float* score_bias, float scale, T* probabilities,
                        size_t count, RowMask mask);
  // From the scores, the gradients of the probabilities (g v^T) and the row sum g o: the dropped out probabilities and
  // scale times the gradients of the scores; the latter without the scale are added to `grad_bias` if it is given.
  void (*backward)(const float* scores, const float* key_bias, const float* score_bias, float scale, SoftmaxRow row,
                   const float* grads, float row_sum, T* probabilities, T* grad_scores, float* grad_bias, size_t count,
                   RowMask mask);
  float (*dot)(const T* left, const T* right, size_t count);
};
TABLE(SoftmaxTable<float>, softmax_float)
TABLE(SoftmaxTable<bf16>, softmax_bf16)

// The residual stream is float32. T is the type of branches beside it, O that of a norm's result.
template <class T, class O>
struct NormTable {
  // summed = residual + dropout(branch); a missing branch is null.
  void (*add)(const float* residual, const T* branch, float* summed, size_t count, RowMask mask);
  // Layer norm of `summed`, or root mean square norm when `bias` is null; overwrites `summed`.
  void (*forward)(float* summed, const float* weight, const float* bias, float eps, O* out, size_t count);
  // Gradients of the residual and the branch (may be null); those of the weight and bias (may be null) are added up.
  void (*backward)(float* summed, const float* weight, float eps, const O* grad, float* grad_residual, T* grad_branch,
                   float* sum_weight, float* sum_bias, size_t count, RowMask mask);
};
using NormFloat = NormTable<float, float>;
using NormWide = NormTable<bf16, float>;
using NormNarrow = NormTable<bf16, bf16>;
TABLE(NormFloat, norms_float)
TABLE(NormWide, norms_wide)
TABLE(NormNarrow, norms_narrow)

template <class T>
struct ResidualTable {
  // residual + dropout(branch)
  void (*add)(const float* residual, const T* branch, float* out, size_t count, RowMask mask);
  // dropout(x); gradients go the same way.
  void (*drop)(const float* x, T* out, size_t count, RowMask mask);
};
TABLE(ResidualTable<float>, residuals_float)
TABLE(ResidualTable<bf16>, residuals_bf16)

template <class T>
struct RotaryTable {
  // One head turned by the angles, or back when `sign` is -1; from and to may be the same.
  void (*rotate)(const T* from, const float* cosines, const float* sines, float sign, bool interleaved, T* to,
                 size_t count);
};
TABLE(RotaryTable<float>, rotary_float)
TABLE(RotaryTable<bf16>, rotary_bf16)

}  // namespace mindformers
