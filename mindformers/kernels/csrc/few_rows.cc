#include "few_rows.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "convert.h"
#include "vector/few_rows.h"

namespace mindformers {
namespace {

constexpr int64_t PIECE = 32;  // rows of a weight that one thread takes at a time

const FewRowsTable<float>& few_rows(float) { return few_rows_float(); }
const FewRowsTable<bf16>& few_rows(bf16) { return few_rows_bf16(); }
const FewRowsTable<int8_t>& few_rows(int8_t) { return few_rows_int8(); }

// Some rows of one weight.
struct Piece {
  Tensor weight;
  const float* bias;
  int64_t begin, end;  // rows
  int64_t column;      // of y
};

template <class W>
void multiply(const Piece& piece, const float* x, int64_t rows, int64_t in, float* y, int64_t out) {
  const W* weight = static_cast<const W*>(piece.weight.data) + piece.begin * piece.weight.last();
  few_rows(W()).multiply(x, rows, in, weight, piece.end - piece.begin, piece.bias, y + piece.column, out);
}

const float* as_float(const float* x, int64_t, std::optional<Buffer<float>>&) { return x; }

const float* as_float(const bf16* x, int64_t count, std::optional<Buffer<float>>& copy) {
  copy.emplace(count);
  casts().widen(x, *copy, count);
  return *copy;
}

}  // namespace

template <class T>
void project_few(const Call& call, const Layers& layers, const T* x, int64_t rows, void* y, Element type) {
  std::vector<Piece> pieces;
  std::vector<As<float>> biases;
  biases.reserve(layers.number);
  int64_t in = call.tensor(layers.first).columns(), out = 0;
  for (int i = 0; i < layers.number; ++i) {
    Tensor weight = call.tensor(layers.first + i);
    require(weight.rank == 2 && weight.columns() == in, "weights of one product are matrices of the same inputs");
    require(is_weight(weight.element), NO_WEIGHT);
    const float* bias = nullptr;
    if (layers.first_bias != Layers::NONE) {
      Tensor given = call.tensor(layers.first_bias + i);
      require(given.size() == weight.rows(), "a bias does not fit its weight");
      biases.emplace_back(given);
      bias = biases.back();
    }
    for (int64_t begin = 0; begin < weight.rows(); begin += PIECE) {
      int64_t end = std::min(begin + PIECE, weight.rows());
      pieces.push_back({weight, bias ? bias + begin : nullptr, begin, end, out + begin});
    }
    out += weight.rows();
  }
  std::optional<Buffer<float>> wide_x, wide_y;
  const float* from = as_float(x, rows * in, wide_x);
  if (type != Element::float32) wide_y.emplace(rows * out);
  float* to = wide_y ? static_cast<float*>(*wide_y) : static_cast<float*>(y);
  for_rows(int64_t(pieces.size()), PIECE * in, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      Element element = pieces[i].weight.element;
      auto narrow = element == Element::int8 ? multiply<int8_t> : multiply<bf16>;
      (element == Element::float32 ? multiply<float> : narrow)(pieces[i], from, rows, in, to, out);
    }
  });
  if (wide_y) casts().narrow(to, static_cast<bf16*>(y), rows * out);
}

template void project_few(const Call&, const Layers&, const float*, int64_t, void*, Element);
template void project_few(const Call&, const Layers&, const bf16*, int64_t, void*, Element);

}  // namespace mindformers
