// Products with so few rows that reading the matrix is all the work; arithmetic is float32.
#pragma once

#include <cstddef>

#include "../element.h"
#include "isa.h"

namespace mindformers {

// W is the type of the weight: float, bf16, or int8_t with a scale behind each row.
template <class W>
struct FewRowsTable {
  // y[i * y_row + j] = the product of row i of x [rows, in] and row j of weight [outs, in], + bias[j] if it is given.
  // What a row gives does not depend on the others.
  void (*multiply)(const float* x, size_t rows, size_t in, const W* weight, size_t outs, const float* bias, float* y,
                   size_t y_row);
};
TABLE(FewRowsTable<float>, few_rows_float)
TABLE(FewRowsTable<bf16>, few_rows_bf16)
TABLE(FewRowsTable<int8_t>, few_rows_int8)

struct MixTable {
  // out[i * out_row + j] = the sum over s < count of shares[i * shares_row + s] * values[s * size + j]
  void (*mix)(const float* shares, size_t shares_row, size_t rows, const float* values, size_t count, size_t size,
              float* out, size_t out_row);
};
TABLE(MixTable, mixes)

}  // namespace mindformers
