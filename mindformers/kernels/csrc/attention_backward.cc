// The backward pass of attention, which works probabilities out anew.
#include "attention.h"

namespace mindformers {
namespace attention {
namespace {

// One task's memory in the backward pass.
template <class T>
struct BackwardBuffers {
  explicit BackwardBuffers(const Sizes& a)
      : scores(a.block * a.stride),
        grads(a.block * a.stride),
        probabilities(a.block * a.stride),
        grad_scores(a.block * a.stride),
        grad_keys(a.keys * a.size),
        grad_values(a.keys * a.size),
        grad_queries(a.block * a.size),
        keys(a.rotates ? a.keys * a.size : 0),
        queries(a.rotates ? a.block * a.size : 0) {}

  Buffer<float> scores, grads;
  Buffer<T> probabilities, grad_scores;
  Buffer<float> grad_keys, grad_values, grad_queries;
  Buffer<T> keys, queries;
};

template <class T>
struct Backward : Attention<T> {
  using A = Attention<T>;
  using Rows = typename A::Rows;

  // Inputs after KEPT: context, statistics, grad, settings. Outputs: the gradients of the tensor of queries, of that of
  // keys and values when it is another, and of the score bias when it is trained.
  explicit Backward(const Call& call)
      : A(call), context_data(call.of<T>(KEPT)), statistics(call.of<float>(KEPT + 1)), grad(call.tensor(KEPT + 2)) {
    int output = A::settings + 1;
    grad_q = grad_kv = call.of<T>(output++);
    if (A::key.place == 0) grad_kv = call.of<T>(output++);
    grad_bias = A::trains_score_bias ? call.of<float>(output) : nullptr;
  }

  // All query heads of key head k in sample b.
  void head(int64_t b, int64_t k, BackwardBuffers<T>& buffers) const {
    Rows key_rows = A::read(A::kv, A::key, b, 0, k, A::keys, buffers.keys);
    Rows value_rows{A::kv + A::value.at(b, 0, k), A::value.row};
    int64_t blocks = (A::queries + A::block - 1) / A::block;
    for (int64_t n = k * A::group; n < (k + 1) * A::group; ++n) {
      for (int64_t block = blocks - 1; block >= 0; --block) {  // the last one sees every key and begins the sums
        bool is_first = n == k * A::group && block == blocks - 1;
        block_of(b, n, block * A::block, key_rows, value_rows, !is_first, buffers);
      }
    }
    float* keys = buffers.grad_keys;
    if (A::rotates) A::template turn<float>(keys, A::size, b, 0, A::keys, -1.0f, keys, A::size);
    for (int64_t s = 0; s < A::keys; ++s) {
      store(keys + s * A::size, grad_kv + A::key.at(b, s, k), A::size);
      store(buffers.grad_values + s * A::size, grad_kv + A::value.at(b, s, k), A::size);
    }
  }

  void block_of(int64_t b, int64_t n, int64_t begin, Rows key_rows, Rows value_rows, bool accumulates,
                BackwardBuffers<T>& buffers) const {
    int64_t end = std::min(begin + A::block, A::queries), count = end - begin, width = A::width(end);
    Rows query_rows = A::read(A::q, A::query, b, begin, n, count, buffers.queries);
    Rows grad_rows{grad + A::context.at(b, begin, n), A::context.row};
    A::products(query_rows, count, key_rows, width, buffers.scores);
    A::products(grad_rows, count, value_rows, width, buffers.grads);
    for (int64_t t = begin; t < end; ++t) row(b, n, t, width, (t - begin) * A::stride, buffers);
    A::mix_transposed(buffers.grad_scores, count, query_rows, width, buffers.grad_keys, accumulates);
    A::mix_transposed(buffers.probabilities, count, grad_rows, width, buffers.grad_values, accumulates);
    T* to = grad_q + A::query.at(b, begin, n);
    if (!A::rotates) {
      A::mix(buffers.grad_scores, count, key_rows, width, to, A::query.row, ElementOf<T>::value);
      return;
    }
    float* queries = buffers.grad_queries;
    A::mix(buffers.grad_scores, count, key_rows, width, queries, A::size, Element::float32);
    A::template turn<float>(queries, A::size, b, begin, count, -1.0f, queries, A::size);
    for (int64_t i = 0; i < count; ++i) store(queries + i * A::size, to + i * A::query.row, A::size);
  }

  void row(int64_t b, int64_t n, int64_t t, int64_t width, int64_t place, BackwardBuffers<T>& buffers) const {
    int64_t seen = std::min(A::seen(t), width), at = A::context.at(b, t, n);
    float row_sum = softmax(T()).dot(grad + at, context_data + at, A::size);
    const float* kept = statistics + ((b * A::heads + n) * A::queries + t) * 2;
    float* bias = grad_bias ? grad_bias + A::score_bias.at(b, n) + t * A::keys : nullptr;
    softmax(T()).backward(buffers.scores + place, A::key_bias.data + A::key_bias.at(b, n), A::score_bias_row(b, n, t),
                          A::scale, {kept[0], kept[1]}, buffers.grads + place, row_sum, buffers.probabilities + place,
                          buffers.grad_scores + place, bias, seen, A::row_mask(b, n, t));
    std::memset(buffers.probabilities + place + seen, 0, (width - seen) * sizeof(T));
    std::memset(buffers.grad_scores + place + seen, 0, (width - seen) * sizeof(T));
  }

  const T* context_data;
  const float* statistics;
  As<T> grad;
  T *grad_q, *grad_kv;
  float* grad_bias;
};

template <class T>
void backward(const Call& call) {
  Backward<T> attention(call);
  // Samples and heads that share a row of a trained bias are one task, because they add to the same gradient.
  bool shares_samples = attention.trains_score_bias && attention.score_bias.shape[0] == 1;
  bool shares_heads = attention.trains_score_bias && attention.score_bias.shape[1] == 1;
  int64_t samples = shares_samples ? 1 : attention.batch, heads = shares_heads ? 1 : attention.kv_heads;
  int64_t samples_each = attention.batch / samples, heads_each = attention.kv_heads / heads;
  if (attention.trains_score_bias) {
    Tensor bias = call.tensor(SCORE_BIAS);
    std::memset(attention.grad_bias, 0, bias.size() * sizeof(float));
  }
  run_tasks(samples * heads, [&](int64_t task) {
    BackwardBuffers<T> buffers(attention);
    for (int64_t i = 0; i < samples_each * heads_each; ++i) {
      int64_t b = task / heads * samples_each + i / heads_each, k = task % heads * heads_each + i % heads_each;
      attention.head(b, k, buffers);
    }
  });
}

}  // namespace
}  // namespace attention
}  // namespace mindformers

KERNEL(mindformers_attention_backward) {
  using namespace mindformers;
  (call.is_narrow(0) ? attention::backward<bf16> : attention::backward<float>)(call);
}
