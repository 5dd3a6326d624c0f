// The softmax over a vocabulary, a part of it at a time, by table; T is float or bf16, arithmetic is float32.
#pragma once

#include <cstddef>

#include "../element.h"
#include "isa.h"

namespace mindformers {

// The greatest of some logits, and the sum of e^(logit - greatest).
struct LogSum {
  float most, sum;
};

template <class T>
struct LossTable {
  LogSum (*fold)(const float* logits, size_t count, LogSum before);
  // out = factor e^(logit - log_sum); where `label` is below `count`, minus the factor.
  void (*gradient)(const float* logits, size_t count, float log_sum, float factor, size_t label, T* out);
};
TABLE(LossTable<float>, losses_float)
TABLE(LossTable<bf16>, losses_bf16)

}  // namespace mindformers
