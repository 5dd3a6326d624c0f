// Which elements dropout keeps, from words of rows and columns (nn/dropout.py).
#pragma once

#include <cstdint>

#include "call.h"
#include "vector/rows.h"

namespace mindformers {

class Mask {
 public:
  // Nothing is dropped.
  Mask() = default;

  // A share `rate` is; arguments `words` and `words + 1` of the call are the words, int32, of at least `rows` rows from
  // `first` on, and of `columns` columns. Words are odd: when the first is 0 nothing is dropped.
  Mask(const Call& call, int words, double rate, int64_t first, int64_t rows, int64_t columns);

  RowMask row(int64_t number) const { return {rows_ ? uint32_t(rows_[number]) : 0, columns_, kept_from_, scale_}; }

 private:
  const int32_t* rows_ = nullptr;
  const int32_t* columns_ = nullptr;
  int32_t kept_from_ = 0;
  float scale_ = 1.0f;
};

}  // namespace mindformers
