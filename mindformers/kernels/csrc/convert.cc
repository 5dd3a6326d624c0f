#include "convert.h"

#include <cstring>

namespace mindformers {
namespace {

void add(const float* from, float* sum, size_t count) { casts().add_float(from, sum, count); }
void add(const bf16* from, float* sum, size_t count) { casts().add_bf16(from, sum, count); }

template <class T>
void expand(const Tensor& from, void (*row_of)(const int8_t*, T*, size_t), T* to) {
  const int8_t* data = static_cast<const int8_t*>(from.data);
  int64_t columns = from.columns();
  for_rows(from.rows(), columns, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) row_of(data + row * from.last(), to + row * columns, columns);
  });
}

}  // namespace

template <>
void convert(const Tensor& from, bf16* to) {
  if (from.element == Element::int8) return expand(from, casts().expand_narrow, to);
  const float* data = static_cast<const float*>(from.data);
  require(from.element == Element::float32, "only float32 is converted to bfloat16");
  for_rows(from.size(), 1, [&](int64_t begin, int64_t end) { casts().narrow(data + begin, to + begin, end - begin); });
}

template <>
void convert(const Tensor& from, float* to) {
  if (from.element == Element::int8) return expand(from, casts().expand, to);
  const bf16* data = static_cast<const bf16*>(from.data);
  require(from.element == Element::bfloat16, "only bfloat16 is converted to float32");
  for_rows(from.size(), 1, [&](int64_t begin, int64_t end) { casts().widen(data + begin, to + begin, end - begin); });
}

template <class T>
As<T>::As(const Tensor& tensor) {
  if (tensor.element == ElementOf<T>::value) {
    data_ = static_cast<const T*>(tensor.data);
    return;
  }
  copy_.emplace(tensor.size());
  convert<T>(tensor, *copy_);
  data_ = *copy_;
}

template class As<float>;
template class As<bf16>;

void sum_pieces(const float* pieces, int64_t number, int64_t count, float* sums) {
  std::memset(sums, 0, count * sizeof(float));
  for (int64_t piece = 0; piece < number; ++piece) casts().add_float(pieces + piece * count, sums, count);
}

template <class T>
void column_sums(const T* from, int64_t rows, int64_t columns, float* sums) {
  Buffer<float> pieces(SUM_PIECES * columns);
  int64_t number = for_sum_pieces(rows, [&](int64_t piece, int64_t begin, int64_t end) {
    float* sum = pieces + piece * columns;
    std::memset(sum, 0, columns * sizeof(float));
    for (int64_t row = begin; row < end; ++row) add(from + row * columns, sum, columns);
  });
  sum_pieces(pieces, number, columns, sums);
}

template void column_sums(const float*, int64_t, int64_t, float*);
template void column_sums(const bf16*, int64_t, int64_t, float*);

}  // namespace mindformers
