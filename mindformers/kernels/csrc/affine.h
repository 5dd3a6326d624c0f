// Products of activations with weights, and what their gradients need; T is float or bf16.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "convert.h"
#include "few_rows.h"
#include "matmul.h"

namespace mindformers {

// Some weights [out, in] of a call, one below the other in one matrix of type T. They are float32 or bfloat16.
template <class T>
class Weights {
 public:
  // Arguments `first` to `first + number - 1` of the call.
  Weights(const Call& call, int first, int number);

  operator const T*() const { return data_; }

  int64_t in, out = 0;        // of the whole matrix
  std::vector<int64_t> outs;  // of each weight

 private:
  std::optional<Buffer<T>> copy_;
  const T* data_;
};

// The biases of a call, one after the other.
class Biases {
 public:
  // Arguments from `first` on, one for each entry of `sizes`; none when `present` is false.
  Biases(const Call& call, int first, const std::vector<int64_t>& sizes, bool present);

  operator const float*() const { return copy_ ? static_cast<const float*>(*copy_) : nullptr; }

 private:
  std::optional<Buffer<float>> copy_;
};

// y[rows, out] = x[rows, in] weight[out, in]^T + bias; y of type `type`, bias may be null.
template <class T>
void project(const T* x, int64_t rows, int64_t in, const T* weight, int64_t out, const float* bias, void* y,
             Element type);

// The same with weights and biases as they come, by `project_few` when rows are few.
template <class T>
void project(const Call& call, const Layers& layers, const T* x, int64_t rows, void* y, Element type);

// grad_x[rows, in] = grad[rows, out] weight[out, in], of type `type`, its rows `grad_x_row` elements apart.
template <class T>
void project_back(const T* grad, int64_t rows, int64_t out, const T* weight, int64_t in, void* grad_x,
                  int64_t grad_x_row, Element type = ElementOf<T>::value);

// grad_weight[out, in] = grad[rows, out]^T x[rows, in], rows of grad `grad_row` elements apart.
template <class T>
void weight_gradient(const T* grad, int64_t grad_row, int64_t rows, int64_t out, const T* x, int64_t in,
                     float* grad_weight);

}  // namespace mindformers
