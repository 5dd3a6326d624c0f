#include "math.h"

namespace mindformers {
namespace ISA {

template <bool BIASED>
INLINE float biased(const float* scores, const float* key_bias, const float* score_bias, float scale, size_t i) {
  float score = scores[i] * scale + key_bias[i];
  return BIASED ? score + score_bias[i] : score;
}

template <class T, bool BIASED, bool DROPS>
static SoftmaxRow forward_row(float* scores, const float* key_bias, const float* score_bias, float scale,
                              T* probabilities, size_t count, RowMask mask) {
  float most = -3.4e38f;
#pragma omp simd reduction(max : most)
  for (size_t i = 0; i < count; ++i) {
    float score = biased<BIASED>(scores, key_bias, score_bias, scale, i);
    scores[i] = score;
    most = score > most ? score : most;
  }
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (size_t i = 0; i < count; ++i) {
    float weight = exponential(scores[i] - most);
    scores[i] = weight;
    sum += weight;
  }
  float inverse = 1.0f / sum;
#pragma omp simd
  for (size_t i = 0; i < count; ++i) {
    write(probabilities + i, scores[i] * inverse * (DROPS ? kept(mask, i) : 1.0f));
  }
  return {most, inverse};
}

template <class T, bool BIASED, bool DROPS>
static void backward_row(const float* scores, const float* key_bias, const float* score_bias, float scale,
                         SoftmaxRow row, const float* grads, float row_sum, T* probabilities, T* grad_scores,
                         float* grad_bias, size_t count, RowMask mask) {
#pragma omp simd
  for (size_t i = 0; i < count; ++i) {
    float score = biased<BIASED>(scores, key_bias, score_bias, scale, i);
    float probability = exponential(score - row.most) * row.inverse_sum;
    float factor = DROPS ? kept(mask, i) : 1.0f;
    float grad = probability * (factor * grads[i] - row_sum);
    write(probabilities + i, probability * factor);
    write(grad_scores + i, grad * scale);
    if (BIASED) {
      if (grad_bias) grad_bias[i] += grad;
    }
  }
}

template <class T>
static SoftmaxRow forward(float* scores, const float* key_bias, const float* score_bias, float scale,
                          T* probabilities, size_t count, RowMask mask) {
  auto run = score_bias ? (mask.columns ? forward_row<T, true, true> : forward_row<T, true, false>)
                        : (mask.columns ? forward_row<T, false, true> : forward_row<T, false, false>);
  return run(scores, key_bias, score_bias, scale, probabilities, count, mask);
}

template <class T>
static void backward(const float* scores, const float* key_bias, const float* score_bias, float scale, SoftmaxRow row,
                     const float* grads, float row_sum, T* probabilities, T* grad_scores, float* grad_bias,
                     size_t count, RowMask mask) {
  auto run = score_bias ? (mask.columns ? backward_row<T, true, true> : backward_row<T, true, false>)
                        : (mask.columns ? backward_row<T, false, true> : backward_row<T, false, false>);
  run(scores, key_bias, score_bias, scale, row, grads, row_sum, probabilities, grad_scores, grad_bias, count, mask);
}

template <class T>
static float dot(const T* left, const T* right, size_t count) {
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (size_t i = 0; i < count; ++i) sum += read(left + i) * read(right + i);
  return sum;
}

const SoftmaxTable<float> softmax_float = {forward<float>, backward<float>, dot<float>};
const SoftmaxTable<bf16> softmax_bf16 = {forward<bf16>, backward<bf16>, dot<bf16>};

}  // namespace ISA
}  // namespace mindformers
