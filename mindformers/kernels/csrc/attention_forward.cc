// The forward pass of attention: context and, for the backward pass, two numbers a row of scores.
#include "attention.h"

namespace mindformers {
namespace attention {
namespace {

template <class T>
struct Forward : Attention<T> {
  using A = Attention<T>;

  explicit Forward(const Call& call)
      : A(call), context_data(call.of<T>(A::settings + 1)), statistics(call.of<float>(A::settings + 2)) {}

  void head(int64_t b, int64_t n) const {
    Buffer<float> scores(A::block * A::stride);
    Buffer<T> probabilities(A::block * A::stride);
    Buffer<T> key_buffer(A::rotates ? A::keys * A::size : 0), query_buffer(A::rotates ? A::block * A::size : 0);
    auto key_rows = A::read(A::kv, A::key, b, 0, n / A::group, A::keys, key_buffer);
    typename A::Rows value_rows{A::kv + A::value.at(b, 0, n / A::group), A::value.row};
    for (int64_t begin = 0; begin < A::queries; begin += A::block) {
      int64_t end = std::min(begin + A::block, A::queries), count = end - begin, width = A::width(end);
      A::products(A::read(A::q, A::query, b, begin, n, count, query_buffer), count, key_rows, width, scores);
      for (int64_t t = begin; t < end; ++t) row(b, n, t, width, scores + (t - begin) * A::stride,
                                                probabilities + (t - begin) * A::stride);
      A::mix(probabilities, count, value_rows, width, context_data + A::context.at(b, begin, n), A::context.row,
             ElementOf<T>::value);
    }
  }

  void row(int64_t b, int64_t n, int64_t t, int64_t width, float* scores, T* probabilities) const {
    int64_t seen = std::min(A::seen(t), width);
    SoftmaxRow made = softmax(T()).forward(scores, A::key_bias.data + A::key_bias.at(b, n), A::score_bias_row(b, n, t),
                                           A::scale, probabilities, seen, A::row_mask(b, n, t));
    std::memset(probabilities + seen, 0, (width - seen) * sizeof(T));
    float* kept = statistics + ((b * A::heads + n) * A::queries + t) * 2;
    kept[0] = made.most, kept[1] = made.inverse_sum;
  }

  T* context_data;
  float* statistics;
};

template <class T>
void forward(const Call& call) {
  Forward<T> attention(call);
  run_tasks(attention.batch * attention.heads,
            [&](int64_t task) { attention.head(task / attention.heads, task % attention.heads); });
}

}  // namespace
}  // namespace attention
}  // namespace mindformers

// queries, keys and values, key bias, score bias, cosines, sines, row words, column words, settings
// -> context [B, T, N * H], statistics float32 [B, N, T, 2]; what a setting switches off may be any tensor
KERNEL(mindformers_attention_forward) {
  using namespace mindformers;
  (call.is_narrow(0) ? attention::forward<bf16> : attention::forward<float>)(call);
}
