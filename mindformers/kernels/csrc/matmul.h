// Products of matrices by oneDNN, made once for a shape and kept.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "element.h"
#include "onednn.h"

namespace mindformers {

// Distances between neighbours of a matrix, in elements.
struct Strides {
  int64_t row, column;
};

inline Strides by_rows(int64_t columns) { return {columns, 1}; }   // element (i, j) at i * columns + j
inline Strides by_columns(int64_t rows) { return {1, rows}; }      // element (i, j) at j * rows + i

// c[m, n] (+)= a[m, k] b[k, n] (+ bias[n]); sums are float32.
struct MatmulShape {
  int64_t m, n, k;
  Strides a, b;
  int64_t c_row;             // distance between rows of c
  Element in, out;           // of a and b, and of c; a bias is float32
  bool has_bias = false;
  bool accumulates = false;  // add to what c holds
  bool alone = false;        // on the calling thread, for use inside a task

  bool operator<(const MatmulShape& other) const;
};

class Matmul {
 public:
  explicit Matmul(const MatmulShape& shape);
  Matmul(const Matmul&) = delete;
  ~Matmul();

  // Any number of threads may call it at the same time.
  void operator()(const void* a, const void* b, void* c, const float* bias = nullptr) const;

 private:
  // Delegated to, so that the destructor gives back what a constructor that throws has made.
  Matmul(const MatmulShape& shape, std::nullptr_t) : shape_(shape) {}

  MatmulShape shape_;
  onednn::MemoryDesc a_ = nullptr, b_ = nullptr, c_ = nullptr, bias_ = nullptr;
  onednn::PrimitiveDesc desc_ = nullptr;
  onednn::Primitive primitive_ = nullptr;
  size_t scratch_ = 0;
};

// The product of a shape, made anew or from the most recently used ones.
std::shared_ptr<const Matmul> matmul(const MatmulShape& shape);

}  // namespace mindformers
