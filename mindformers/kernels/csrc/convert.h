// Tensors in the type that a kernel computes with.
#pragma once

#include <optional>

#include "call.h"
#include "pool.h"
#include "scratch.h"
#include "vector/rows.h"

namespace mindformers {

// The elements of a tensor as T: the tensor's own, or a converted copy that lives as long as this object.
template <class T>
class As {
 public:
  explicit As(const Tensor& tensor);
  operator const T*() const { return data_; }

 private:
  std::optional<Buffer<T>> copy_;
  const T* data_;
};

// Write `from` as T to `to`, on all threads.
template <class T>
void convert(const Tensor& from, T* to);

// sums[j] = the sum of column j of rows x columns elements.
template <class T>
void column_sums(const T* from, int64_t rows, int64_t columns, float* sums);

// Add up the pieces of `for_sum_pieces`, each `count` numbers, into `sums`.
void sum_pieces(const float* pieces, int64_t number, int64_t count, float* sums);

}  // namespace mindformers
