// Cross entropy of x table^T + bias with labels, without the logits in memory: a part of the vocabulary at a time.
//
// x is [R, D], the table [V, D] and the bias [V] float32 or bfloat16, labels int32 [R]. Products are computed in
// bfloat16 or float32. What is kept for the backward pass is the logarithm of each row's sum; logits are worked out
// once more from it, so that the gradient of a part of the table is written once, and a second backward pass finds all
// it needs.
#include "vector/loss.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "affine.h"

namespace mindformers {
namespace {

enum Settings { IGNORED, HAS_BIAS, IS_NARROW };
enum Inputs { X, VOCABULARY, BIAS, LABELS, LOG_SUMS, GRAD };

constexpr int64_t PART_LOGITS = int64_t(1) << 22;  // logits of a part, so that it stays in a cache that threads share
constexpr int64_t LEAST_PART = 256, MOST_PART = 8192;

const LossTable<float>& table_of(float) { return losses_float(); }
const LossTable<bf16>& table_of(bf16) { return losses_bf16(); }

template <class T>
struct Loss {
  explicit Loss(const Call& call)
      : place(call.settings_place()), x(call.tensor(X)), labels(call.of<int32_t>(LABELS)),
        table(call.tensor(VOCABULARY)) {
    rows = call.tensor(X).rows(), size = table.last(), words = table.rows();
    ignored = int64_t(call.setting(place, IGNORED));
    require(call.tensor(X).last() == size, "x and the table do not fit together");
    require(call.tensor(LABELS).size() == rows, "there is not a label for each row");
    if (call.setting(place, HAS_BIAS)) {
      require(call.tensor(BIAS).size() == words, "the bias and the table do not fit together");
      bias.emplace(call.tensor(BIAS));
    }
    for (int64_t row = 0; row < rows; ++row) {
      require(!counts(row) || (labels[row] >= 0 && labels[row] < words), "a label is no row of the table");
    }
    part = std::max(LEAST_PART, std::min(MOST_PART, PART_LOGITS / std::max<int64_t>(rows, 1) / 64 * 64));
  }

  bool counts(int64_t row) const { return labels[row] != ignored; }

  // Run body(begin, count, rows of the table as T, their logits [rows, count]) for parts of the table.
  template <class Body>
  void for_parts(const Body& body) const {
    Buffer<float> logits(rows * std::min(part, words));
    Buffer<T> converted(ElementOf<T>::value == table.element ? 0 : std::min(part, words) * size);
    for (int64_t begin = 0; begin < words; begin += part) {
      int64_t count = std::min(part, words - begin);
      const T* of_part = part_of_table(begin * size, count * size, converted);
      project<T>(x, rows, size, of_part, count, bias ? *bias + begin : nullptr, logits, Element::float32);
      body(begin, count, of_part, static_cast<const float*>(logits));
    }
  }

  // Elements `begin` to `begin + count - 1` of the table, as they lie or converted into `room`.
  const T* part_of_table(int64_t begin, int64_t count, T* room) const {
    if (table.element == ElementOf<T>::value) return static_cast<const T*>(table.data) + begin;
    convert<T>({static_cast<char*>(table.data) + begin * size_of(table.element), 1, &count, table.element}, room);
    return room;
  }

  int place;
  As<T> x;
  const int32_t* labels;
  Tensor table;
  std::optional<As<float>> bias;
  int64_t rows, size, words, ignored, part;
};

// x, table, bias, labels, settings -> losses and logarithms of sums, both [R]
template <class T>
void forward(const Call& call) {
  Loss<T> loss(call);
  float *losses = call.of<float>(loss.place + 1), *log_sums = call.of<float>(loss.place + 2);
  std::vector<LogSum> sums(loss.rows, LogSum{-3.4e38f, 0.0f});
  loss.for_parts([&](int64_t begin, int64_t count, const T*, const float* logits) {
    for_rows(loss.rows, count, [&](int64_t first, int64_t last) {
      for (int64_t row = first; row < last; ++row) {
        const float* of_row = logits + row * count;
        sums[row] = table_of(T()).fold(of_row, count, sums[row]);
        int64_t label = loss.labels[row] - begin;
        if (loss.counts(row) && label >= 0 && label < count) losses[row] = -of_row[label];
      }
    });
  });
  for (int64_t row = 0; row < loss.rows; ++row) {
    log_sums[row] = sums[row].most + std::log(sums[row].sum);
    losses[row] = loss.counts(row) ? losses[row] + log_sums[row] : 0.0f;
  }
}

// x, table, bias, labels, log_sums, grad [R], settings -> gradients of x, the table and, if there is one, the bias
template <class T>
void backward(const Call& call) {
  Loss<T> loss(call);
  const float *log_sums = call.of<float>(LOG_SUMS), *grad = call.of<float>(GRAD);
  int64_t rows = loss.rows, size = loss.size;
  Tensor grad_x = call.tensor(loss.place + 1);
  float* grad_table = call.of<float>(loss.place + 2);
  Buffer<float> sum_x(rows * size);
  Buffer<T> grads(rows * std::min(loss.part, loss.words));
  loss.for_parts([&](int64_t begin, int64_t count, const T* of_part, const float* logits) {
    for_rows(rows, count, [&](int64_t first, int64_t last) {
      for (int64_t row = first; row < last; ++row) {
        size_t label = loss.counts(row) ? size_t(loss.labels[row] - begin) : size_t(-1);
        float factor = loss.counts(row) ? grad[row] : 0.0f;
        table_of(T()).gradient(logits + row * count, count, log_sums[row], factor, label, grads + row * count);
      }
    });
    constexpr Element type = ElementOf<T>::value;
    MatmulShape shape{rows, size, count, by_rows(count), by_rows(size), size, type, Element::float32};
    shape.accumulates = begin > 0;
    (*matmul(shape))(grads, of_part, sum_x);
    weight_gradient<T>(grads, count, rows, count, loss.x, size, grad_table + begin * size);
    if (loss.bias) column_sums<T>(grads, rows, count, call.of<float>(loss.place + 3) + begin);
  });
  if (grad_x.element == Element::bfloat16) return casts().narrow(sum_x, static_cast<bf16*>(grad_x.data), rows * size);
  std::copy(sum_x + 0, sum_x + rows * size, static_cast<float*>(grad_x.data));
}

bool is_narrow(const Call& call) { return call.setting(call.settings_place(), IS_NARROW) != 0; }

}  // namespace
}  // namespace mindformers

KERNEL(mindformers_loss_forward) {
  (mindformers::is_narrow(call) ? mindformers::forward<mindformers::bf16> : mindformers::forward<float>)(call);
}

KERNEL(mindformers_loss_backward) {
  (mindformers::is_narrow(call) ? mindformers::backward<mindformers::bf16> : mindformers::backward<float>)(call);
}
