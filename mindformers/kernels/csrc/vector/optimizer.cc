#include "optimizer.h"

#include "math.h"

namespace mindformers {
namespace ISA {

static double squares(const float* numbers, size_t count) {
  double sum = 0.0;
#pragma omp simd reduction(+ : sum)
  for (size_t i = 0; i < count; ++i) sum += double(numbers[i]) * double(numbers[i]);
  return sum;
}

static void adam(float* parameter, float* mean, float* square, const float* gradient, size_t count, AdamStep step) {
#pragma omp simd
  for (size_t i = 0; i < count; ++i) {
    float value = parameter[i];
    float grad = gradient[i] * step.factor + step.penalty * value;
    value -= step.shrink * value;
    mean[i] += (grad - mean[i]) * (1.0f - step.beta1);
    square[i] += (grad * grad - square[i]) * (1.0f - step.beta2);
    parameter[i] = value - step.rate * mean[i] / (__builtin_sqrtf(square[i]) + step.eps);
  }
}

const OptimizerTable optimizers = {squares, adam};

}  // namespace ISA
}  // namespace mindformers
