#include "mask.h"

namespace mindformers {

Mask::Mask(const Call& call, int words, double rate, int64_t first, int64_t rows, int64_t columns) {
  if (rate == 0.0 || call.of<int32_t>(words)[0] == 0) return;
  require(call.tensor(words).size() >= first + rows, "dropout has too few words for the rows");
  require(call.tensor(words + 1).size() == columns, "dropout has other words than columns");
  rows_ = call.of<int32_t>(words) + first;
  columns_ = call.of<int32_t>(words + 1);
  kept_from_ = int32_t(int64_t(rate * 4294967296.0) - 2147483648LL);
  scale_ = float(1.0 / (1.0 - rate));
}

}  // namespace mindformers
