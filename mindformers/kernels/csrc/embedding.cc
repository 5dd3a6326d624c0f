// Rows of a table for integers, and the gradient of the table.
//
// The table is float32, bfloat16 or int8 with scales [V, D], ids are int32 of any shape; rows and the gradient are
// float32.
#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

#include "convert.h"

namespace mindformers {
namespace {

enum Settings { FROZEN };  // a row without gradient, or -1

constexpr int64_t PIECE = 64;  // rows of the table that one thread takes at a time

const int32_t* checked_ids(const Tensor& ids, int64_t words) {
  require(ids.element == Element::int32, "ids are int32");
  const int32_t* given = static_cast<const int32_t*>(ids.data);
  for (int64_t i = 0; i < ids.size(); ++i) {
    if (given[i] < 0 || given[i] >= words) {
      throw KernelError("id " + std::to_string(given[i]) + " is no row of a table of " + std::to_string(words));
    }
  }
  return given;
}

}  // namespace
}  // namespace mindformers

// table, ids, settings -> rows
KERNEL(mindformers_embedding_forward) {
  using namespace mindformers;
  Tensor table = call.tensor(0), ids = call.tensor(1);
  int64_t size = table.columns();
  const int32_t* given = checked_ids(ids, table.rows());
  float* rows = call.of<float>(3);
  require(call.tensor(3).size() == ids.size() * size, "there is not a row for each id");
  for_rows(ids.size(), size, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      int64_t first = given[i] * size;
      if (table.element == Element::int8) {
        casts().expand(call.of<int8_t>(0) + given[i] * table.last(), rows + i * size, size);
      } else if (table.element == Element::bfloat16) {
        casts().widen(call.of<bf16>(0) + first, rows + i * size, size);
      } else {
        std::memcpy(rows + i * size, call.of<float>(0) + first, size * sizeof(float));
      }
    }
  });
}

// ids, grad, table, settings -> the gradient of the table, whose sums do not depend on the number of threads
KERNEL(mindformers_embedding_backward) {
  using namespace mindformers;
  Tensor ids = call.tensor(0), table = call.tensor(4);
  int64_t words = table.rows(), size = table.last(), count = ids.size();
  const int32_t* given = checked_ids(ids, words);
  const float* grad = call.of<float>(1);
  float* sums = call.of<float>(4);
  require(call.tensor(1).size() == count * size, "there is not a gradient for each id");
  int64_t frozen = int64_t(call.setting(3, FROZEN));
  std::vector<int64_t> order(count);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return given[a] < given[b]; });
  run_tasks((words + PIECE - 1) / PIECE, [&](int64_t piece) {
    int64_t begin = piece * PIECE, end = std::min(begin + PIECE, words);
    std::memset(sums + begin * size, 0, (end - begin) * size * sizeof(float));
    auto is_before = [&](int64_t i, int64_t row) { return given[i] < row; };
    auto next = std::lower_bound(order.begin(), order.end(), begin, is_before);
    for (; next != order.end() && given[*next] < end; ++next) {
      if (given[*next] == frozen) continue;
      const float* from = grad + *next * size;
      float* to = sums + given[*next] * size;
      for (int64_t j = 0; j < size; ++j) to[j] += from[j];
    }
  });
}
