#include "affine.h"

#include <algorithm>

namespace mindformers {
namespace {

template <class T>
void copy_as(const Tensor& from, T* to) {
  if (from.element != ElementOf<T>::value) return convert<T>(from, to);
  const T* data = static_cast<const T*>(from.data);
  std::copy(data, data + from.size(), to);
}

}  // namespace

template <class T>
Weights<T>::Weights(const Call& call, int first, int number) : in(call.tensor(first).columns()) {
  for (int i = 0; i < number; ++i) {
    Tensor weight = call.tensor(first + i);
    require(is_weight(weight.element), NO_WEIGHT);
    require(weight.rank == 2 && weight.columns() == in, "weights of one product are matrices of the same inputs");
    outs.push_back(weight.rows());
    out += weight.rows();
  }
  if (number == 1 && call.tensor(first).element == ElementOf<T>::value) {
    data_ = static_cast<const T*>(call.tensor(first).data);
    return;
  }
  copy_.emplace(out * in);
  T* to = *copy_;
  for (int i = 0; i < number; ++i) {
    copy_as(call.tensor(first + i), to);
    to += outs[i] * in;
  }
  data_ = *copy_;
}

template class Weights<float>;
template class Weights<bf16>;

Biases::Biases(const Call& call, int first, const std::vector<int64_t>& sizes, bool present) {
  if (!present) return;
  int64_t total = 0;
  for (int64_t size : sizes) total += size;
  copy_.emplace(total);
  float* to = *copy_;
  for (size_t i = 0; i < sizes.size(); ++i) {
    require(call.tensor(first + int(i)).size() == sizes[i], "a bias does not fit its weight");
    As<float> from(call.tensor(first + int(i)));
    to = std::copy(from + 0, from + sizes[i], to);
  }
}

template <class T>
void project(const T* x, int64_t rows, int64_t in, const T* weight, int64_t out, const float* bias, void* y,
             Element type) {
  MatmulShape shape{rows, out, in, by_rows(in), by_columns(in), out, ElementOf<T>::value, type, bias != nullptr};
  (*matmul(shape))(x, weight, y, bias);
}

// Weight by weight, none of which needs to be copied then.
template <class T>
static void project_each(const Call& call, const Layers& layers, const T* x, int64_t rows, void* y, Element type) {
  int64_t in = call.tensor(layers.first).columns(), out = 0, column = 0;
  for (int i = 0; i < layers.number; ++i) out += call.tensor(layers.first + i).rows();
  for (int i = 0; i < layers.number; ++i) {
    Weights<T> weight(call, layers.first + i, 1);
    require(weight.in == in, "weights of one product are matrices of the same inputs");
    Biases bias(call, layers.first_bias + i, weight.outs, layers.first_bias != Layers::NONE);
    MatmulShape shape{rows, weight.out, in, by_rows(in), by_columns(in), out, ElementOf<T>::value, type};
    shape.has_bias = bias != nullptr;
    (*matmul(shape))(x, weight, static_cast<char*>(y) + column * size_of(type), bias);
    column += weight.out;
  }
}

template <class T>
void project(const Call& call, const Layers& layers, const T* x, int64_t rows, void* y, Element type) {
  if (rows <= FEW_ROWS) return project_few<T>(call, layers, x, rows, y, type);
  bool lies_ready = call.tensor(layers.first).element == ElementOf<T>::value;
  if (lies_ready || ElementOf<T>::value == Element::float32) return project_each<T>(call, layers, x, rows, y, type);
  Weights<T> weight(call, layers.first, layers.number);
  Biases bias(call, layers.first_bias, weight.outs, layers.first_bias != Layers::NONE);
  project<T>(x, rows, weight.in, weight, weight.out, bias, y, type);
}

template <class T>
void project_back(const T* grad, int64_t rows, int64_t out, const T* weight, int64_t in, void* grad_x,
                  int64_t grad_x_row, Element type) {
  MatmulShape shape{rows, in, out, by_rows(out), by_rows(in), grad_x_row, ElementOf<T>::value, type};
  (*matmul(shape))(grad, weight, grad_x);
}

template <class T>
void weight_gradient(const T* grad, int64_t grad_row, int64_t rows, int64_t out, const T* x, int64_t in,
                     float* grad_weight) {
  MatmulShape shape{out, in, rows, by_columns(grad_row), by_rows(in), in, ElementOf<T>::value, Element::float32};
  (*matmul(shape))(grad, x, grad_weight);
}

#define INSTANTIATE(T)                                                                                       \
  template void project(const T*, int64_t, int64_t, const T*, int64_t, const float*, void*, Element);        \
  template void project(const Call&, const Layers&, const T*, int64_t, void*, Element);                      \
  template void project_back(const T*, int64_t, int64_t, const T*, int64_t, void*, int64_t, Element);        \
  template void weight_gradient(const T*, int64_t, int64_t, int64_t, const T*, int64_t, float*);
INSTANTIATE(float)
INSTANTIATE(bf16)

}  // namespace mindformers
