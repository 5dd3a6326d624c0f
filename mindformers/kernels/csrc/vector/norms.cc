#include "math.h"

namespace mindformers {
namespace ISA {

template <class T, bool DROPS>
static void add_row(const float* residual, const T* branch, float* summed, size_t count, RowMask mask) {
#pragma omp simd
  for (size_t i = 0; i < count; ++i) {
    float value = branch ? read(branch + i) * (DROPS ? kept(mask, i) : 1.0f) : 0.0f;
    summed[i] = value + residual[i];
  }
}

template <class T>
static void add(const float* residual, const T* branch, float* summed, size_t count, RowMask mask) {
  auto run = mask.columns ? add_row<T, true> : add_row<T, false>;
  run(residual, branch, summed, count, mask);
}

static float centre(float* row, size_t count) {
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (size_t i = 0; i < count; ++i) sum += row[i];
  float mean = sum / float(count);
  for (size_t i = 0; i < count; ++i) row[i] -= mean;
  return mean;
}

static float inverse_deviation(const float* row, float eps, size_t count) {
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (size_t i = 0; i < count; ++i) sum += row[i] * row[i];
  return 1.0f / __builtin_sqrtf(sum / float(count) + eps);
}

template <class O>
static void forward(float* summed, const float* weight, const float* bias, float eps, O* out, size_t count) {
  if (bias) centre(summed, count);
  float inverse = inverse_deviation(summed, eps, count);
  if (bias) {
#pragma omp simd
    for (size_t i = 0; i < count; ++i) write(out + i, summed[i] * inverse * weight[i] + bias[i]);
  } else {
#pragma omp simd
    for (size_t i = 0; i < count; ++i) write(out + i, summed[i] * inverse * weight[i]);
  }
}

template <class T, class O, bool CENTRED, bool BRANCH, bool DROPS>
static void backward_row(float* summed, const float* weight, float eps, const O* grad, float* grad_residual,
                         T* grad_branch, float* sum_weight, float* sum_bias, size_t count, RowMask mask) {
  if (CENTRED) centre(summed, count);
  float inverse = inverse_deviation(summed, eps, count);
  float mean = 0.0f, product = 0.0f;
#pragma omp simd reduction(+ : mean, product)
  for (size_t i = 0; i < count; ++i) {
    float normed = summed[i] * inverse, incoming = read(grad + i);
    float weighted = incoming * weight[i];
    summed[i] = normed;
    mean += weighted;
    product += weighted * normed;
    sum_weight[i] += incoming * normed;
    if (CENTRED) sum_bias[i] += incoming;
  }
  mean = CENTRED ? mean / float(count) : 0.0f;
  product = product / float(count);
#pragma omp simd
  for (size_t i = 0; i < count; ++i) {
    float outgoing = inverse * (read(grad + i) * weight[i] - mean - summed[i] * product);
    grad_residual[i] = outgoing;
    if (BRANCH) write(grad_branch + i, outgoing * (DROPS ? kept(mask, i) : 1.0f));
  }
}

template <class T, class O>
static void backward(float* summed, const float* weight, float eps, const O* grad, float* grad_residual, T* grad_branch,
                     float* sum_weight, float* sum_bias, size_t count, RowMask mask) {
  auto plain = sum_bias ? backward_row<T, O, true, false, false> : backward_row<T, O, false, false, false>;
  auto branched = sum_bias ? backward_row<T, O, true, true, false> : backward_row<T, O, false, true, false>;
  auto dropped = sum_bias ? backward_row<T, O, true, true, true> : backward_row<T, O, false, true, true>;
  auto run = !grad_branch ? plain : mask.columns ? dropped : branched;
  run(summed, weight, eps, grad, grad_residual, grad_branch, sum_weight, sum_bias, count, mask);
}

const NormFloat norms_float = {add<float>, forward<float>, backward<float, float>};
const NormWide norms_wide = {add<bf16>, forward<float>, backward<bf16, float>};
const NormNarrow norms_narrow = {add<bf16>, forward<bf16>, backward<bf16, bf16>};

}  // namespace ISA
}  // namespace mindformers
