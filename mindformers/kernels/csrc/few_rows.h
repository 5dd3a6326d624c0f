// Products of few rows with weights at the speed of memory: each weight is read once, in its own type, as it lies.
#pragma once

#include "call.h"

namespace mindformers {

constexpr int64_t FEW_ROWS = 16;

constexpr char NO_WEIGHT[] = "weights are float32, bfloat16 or rows of int8 with their scales";

constexpr char NO_GRADIENT[] = "rows of int8 have no gradient";

inline bool is_weight(Element element) {
  return element == Element::float32 || element == Element::bfloat16 || element == Element::int8;
}

// What one product reads: weights [out, in] in arguments `first` to `first + number - 1` of the call, float32, bfloat16
// or int8 with scales, and their biases from argument `first_bias` on, or none.
struct Layers {
  int first, number;
  int first_bias = NONE;

  static constexpr int NONE = -1;
};

// y[rows, .] = x[rows, in] weight^T + bias, the results of all weights side by side; y of type `type`, sums float32.
template <class T>
void project_few(const Call& call, const Layers& layers, const T* x, int64_t rows, void* y, Element type);

}  // namespace mindformers
