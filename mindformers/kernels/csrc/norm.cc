// norm(residual + dropout(branch)) with layer norm or root mean square norm, and norm(residual) alone; the sum of a
// residual and a branch without a norm; dropout alone.
//
// All are [..., D]. The residual stream is float32; branches beside it, and norms that begin one, may be bfloat16.
// Weight and bias are float32 [D], as are their gradients.
#include <algorithm>
#include <cstring>

#include "convert.h"
#include "mask.h"

namespace mindformers {
namespace {

enum NormSettings { IS_CENTRED, HAS_BRANCH, EPS, NORM_RATE, NORM_FIRST_ROW };
enum DropoutSettings { RATE, FIRST_ROW };

const NormFloat& norms(float, float) { return norms_float(); }
const NormWide& norms(bf16, float) { return norms_wide(); }
const NormNarrow& norms(bf16, bf16) { return norms_narrow(); }
const ResidualTable<float>& residuals(float) { return residuals_float(); }
const ResidualTable<bf16>& residuals(bf16) { return residuals_bf16(); }

// Run F<T, O> for the type of the branch, if there is one, and that of the result or its gradient.
template <template <class, class> class F>
void by_types(const Call& call, int result) {
  bool has_branch = call.setting(call.settings_place(), HAS_BRANCH) != 0;
  bool narrow_branch = has_branch && call.is_narrow(1), narrow_result = call.is_narrow(result);
  if (narrow_result) return F<bf16, bf16>::run(call);
  if (narrow_branch) return F<bf16, float>::run(call);
  F<float, float>::run(call);
}

struct NormCall {
  explicit NormCall(const Call& call, int words) : place(call.settings_place()) {
    Tensor x = call.tensor(0);
    rows = x.rows(), width = x.last();
    is_centred = call.setting(place, IS_CENTRED) != 0;
    has_branch = call.setting(place, HAS_BRANCH) != 0;
    eps = float(call.setting(place, EPS));
    int64_t first = int64_t(call.setting(place, NORM_FIRST_ROW));
    mask = Mask(call, words, call.setting(place, NORM_RATE), first, rows, width);
    require(call.tensor(2).size() == width, "the weight of a norm does not fit its rows");
  }

  int place;
  int64_t rows, width;
  bool is_centred, has_branch;
  float eps;
  Mask mask;
};

// residual, branch, weight, bias, row words, column words, settings -> y; a missing branch or bias is any tensor
template <class T, class O>
struct NormForward {
  static void run(const Call& call) {
    NormCall norm(call, 4);
    const float* residual = call.of<float>(0);
    const T* branch = norm.has_branch ? call.of<T>(1) : nullptr;
    const float* weight = call.of<float>(2);
    const float* bias = norm.is_centred ? call.of<float>(3) : nullptr;
    O* out = call.of<O>(norm.place + 1);
    int64_t width = norm.width;
    for_rows(norm.rows, width, [&](int64_t begin, int64_t end) {
      Buffer<float> summed(width);
      for (int64_t row = begin; row < end; ++row) {
        const T* from = branch ? branch + row * width : nullptr;
        norms(T(), O()).add(residual + row * width, from, summed, width, norm.mask.row(row));
        norms(T(), O()).forward(summed, weight, bias, norm.eps, out + row * width, width);
      }
    });
  }
};

// residual, branch, weight, row words, column words, grad, settings -> gradients of residual, weight, and then those of
// branch and bias that exist
template <class T, class O>
struct NormBackward {
  static void run(const Call& call) {
    NormCall norm(call, 3);
    int output = norm.place + 1;
    const float* residual = call.of<float>(0);
    const T* branch = norm.has_branch ? call.of<T>(1) : nullptr;
    const float* weight = call.of<float>(2);
    const O* grad = call.of<O>(5);
    float* grad_residual = call.of<float>(output++);
    float* grad_weight = call.of<float>(output++);
    T* grad_branch = norm.has_branch ? call.of<T>(output++) : nullptr;
    float* grad_bias = norm.is_centred ? call.of<float>(output) : nullptr;
    int64_t width = norm.width;
    Buffer<float> sums(SUM_PIECES * 2 * width), total(2 * width);
    int64_t pieces = for_sum_pieces(norm.rows, [&](int64_t piece, int64_t begin, int64_t end) {
      Buffer<float> summed(width);
      float* sum = sums + piece * 2 * width;
      std::memset(sum, 0, 2 * width * sizeof(float));
      for (int64_t row = begin; row < end; ++row) {
        const T* from = branch ? branch + row * width : nullptr;
        T* to = grad_branch ? grad_branch + row * width : nullptr;
        norms(T(), O()).add(residual + row * width, from, summed, width, norm.mask.row(row));
        norms(T(), O()).backward(summed, weight, norm.eps, grad + row * width, grad_residual + row * width, to, sum,
                                 grad_bias ? sum + width : nullptr, width, norm.mask.row(row));
      }
    });
    sum_pieces(sums, pieces, 2 * width, total);
    std::copy(total + 0, total + width, grad_weight);
    if (grad_bias) std::copy(total + width, total + 2 * width, grad_bias);
  }
};

// residual, branch, row words, column words, settings -> residual + dropout(branch)
template <class T>
void add(const Call& call) {
  Tensor branch = call.tensor(1);
  int64_t rows = branch.rows(), width = branch.last(), first = int64_t(call.setting(4, FIRST_ROW));
  Mask mask(call, 2, call.setting(4, RATE), first, rows, width);
  const float* residual = call.of<float>(0);
  const T* from = call.of<T>(1);
  float* out = call.of<float>(5);
  for_rows(rows, width, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      int64_t place = row * width;
      residuals(T()).add(residual + place, from + place, out + place, width, mask.row(row));
    }
  });
}

// x, row words, column words, settings -> dropout(x), of type T; the gradient goes the same way
template <class T>
void drop(const Call& call) {
  Tensor x = call.tensor(0);
  int64_t rows = x.rows(), width = x.last(), first = int64_t(call.setting(3, FIRST_ROW));
  Mask mask(call, 1, call.setting(3, RATE), first, rows, width);
  As<float> from(x);
  T* to = call.of<T>(4);
  for_rows(rows, width, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      residuals(T()).drop(from + row * width, to + row * width, width, mask.row(row));
    }
  });
}

}  // namespace
}  // namespace mindformers

KERNEL(mindformers_norm_forward) {
  mindformers::by_types<mindformers::NormForward>(call, call.settings_place() + 1);
}

KERNEL(mindformers_norm_backward) { mindformers::by_types<mindformers::NormBackward>(call, 5); }

KERNEL(mindformers_add) { (call.is_narrow(1) ? mindformers::add<mindformers::bf16> : mindformers::add<float>)(call); }

KERNEL(mindformers_dropout) {
  (call.is_narrow(4) ? mindformers::drop<mindformers::bf16> : mindformers::drop<float>)(call);
}
