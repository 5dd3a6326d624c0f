// Updates of parameters and sums of squares, by table.
#pragma once

#include <cstddef>

#include "isa.h"

namespace mindformers {

// One update of Adam. Gradients are scaled by `factor`; a decay that is decoupled is `shrink` times the parameter, one
// that is not adds `penalty` times the parameter to the gradient.
struct AdamStep {
  float rate, beta1, beta2, eps, factor, shrink, penalty;
};

struct OptimizerTable {
  double (*squares)(const float* numbers, size_t count);
  void (*adam)(float* parameter, float* mean, float* square, const float* gradient, size_t count, AdamStep step);
};
TABLE(OptimizerTable, optimizers)

}  // namespace mindformers
