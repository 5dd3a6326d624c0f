#include "loss.h"

#include "math.h"

namespace mindformers {
namespace ISA {

static LogSum fold(const float* logits, size_t count, LogSum before) {
  float most = before.most;
#pragma omp simd reduction(max : most)
  for (size_t i = 0; i < count; ++i) most = logits[i] > most ? logits[i] : most;
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (size_t i = 0; i < count; ++i) sum += exponential(logits[i] - most);
  return {most, sum + before.sum * exponential(before.most - most)};
}

template <class T>
static void gradient(const float* logits, size_t count, float log_sum, float factor, size_t label, T* out) {
#pragma omp simd
  for (size_t i = 0; i < count; ++i) write(out + i, factor * exponential(logits[i] - log_sum));
  if (label < count) write(out + label, factor * (exponential(logits[label] - log_sum) - 1.0f));
}

const LossTable<float> losses_float = {fold, gradient<float>};
const LossTable<bf16> losses_bf16 = {fold, gradient<bf16>};

}  // namespace ISA
}  // namespace mindformers
