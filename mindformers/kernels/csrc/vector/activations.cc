#include "math.h"

namespace mindformers {
namespace ISA {

// Value and slope of an activation.
struct Curve {
  float value, slope;
};

struct Gelu {
  INLINE float value(float x) { return x * (0.5f * error_function(x * 0.707106781f) + 0.5f); }
  INLINE Curve curve(float x) {
    float share = 0.5f * error_function(x * 0.707106781f) + 0.5f;
    return {x * share, share + x * 0.398942280f * exponential(-0.5f * x * x)};
  }
};

struct GeluTanh {  // 0.5 (1 + tanh(y)) is sigmoid(2 y)
  INLINE float value(float x) { return x * sigmoid(1.595769122f * (x + 0.044715f * x * x * x)); }
  INLINE Curve curve(float x) {
    float share = sigmoid(1.595769122f * (x + 0.044715f * x * x * x));
    float inner = 1.595769122f * (1.0f + 0.134145f * x * x);
    return {x * share, share + x * share * (1.0f - share) * inner};
  }
};

struct QuickGelu {
  INLINE float value(float x) { return x * sigmoid(1.702f * x); }
  INLINE Curve curve(float x) {
    float share = sigmoid(1.702f * x);
    return {x * share, share + 1.702f * x * share * (1.0f - share)};
  }
};

struct Relu {
  INLINE float value(float x) { return x < 0.0f ? 0.0f : x; }
  INLINE Curve curve(float x) { return {x < 0.0f ? 0.0f : x, x > 0.0f ? 1.0f : 0.0f}; }
};

struct Silu {
  INLINE float value(float x) { return x * sigmoid(x); }
  INLINE Curve curve(float x) {
    float share = sigmoid(x);
    return {x * share, share + x * share * (1.0f - share)};
  }
};

template <class F, class T, bool GATED, bool DROPS>
static void forward_row(const T* pre, const T* up, T* hidden, size_t count, RowMask mask) {
#pragma omp simd
  for (size_t i = 0; i < count; ++i) {
    float value = F::value(read(pre + i));
    if (GATED) value *= read(up + i);
    if (DROPS) value *= kept(mask, i);
    write(hidden + i, value);
  }
}

template <class F, class T, bool GATED, bool DROPS>
static void backward_row(const T* pre, const T* up, T* hidden, T* grad, T* grad_up, float* sum, float* sum_up,
                         size_t count, RowMask mask) {
#pragma omp simd
  for (size_t i = 0; i < count; ++i) {
    Curve curve = F::curve(read(pre + i));
    float scale = DROPS ? kept(mask, i) : 1.0f;
    float factor = GATED ? read(up + i) : 1.0f;
    float incoming = read(grad + i) * scale;
    float outgoing = incoming * factor * curve.slope;
    write(hidden + i, curve.value * factor * scale);
    write(grad + i, outgoing);
    sum[i] += outgoing;
    if (GATED) {
      write(grad_up + i, incoming * curve.value);
      sum_up[i] += incoming * curve.value;
    }
  }
}

template <class F, class T>
static void forward_of(const T* pre, const T* up, T* hidden, size_t count, RowMask mask) {
  auto run = up ? (mask.columns ? forward_row<F, T, true, true> : forward_row<F, T, true, false>)
                : (mask.columns ? forward_row<F, T, false, true> : forward_row<F, T, false, false>);
  run(pre, up, hidden, count, mask);
}

template <class F, class T>
static void backward_of(const T* pre, const T* up, T* hidden, T* grad, T* grad_up, float* sum, float* sum_up,
                        size_t count, RowMask mask) {
  auto run = up ? (mask.columns ? backward_row<F, T, true, true> : backward_row<F, T, true, false>)
                : (mask.columns ? backward_row<F, T, false, true> : backward_row<F, T, false, false>);
  run(pre, up, hidden, grad, grad_up, sum, sum_up, count, mask);
}

template <class T>
static void forward(Activation kind, const T* pre, const T* up, T* hidden, size_t count, RowMask mask) {
  switch (kind) {
    case Activation::gelu:
      return forward_of<Gelu>(pre, up, hidden, count, mask);
    case Activation::gelu_tanh:
      return forward_of<GeluTanh>(pre, up, hidden, count, mask);
    case Activation::quick_gelu:
      return forward_of<QuickGelu>(pre, up, hidden, count, mask);
    case Activation::relu:
      return forward_of<Relu>(pre, up, hidden, count, mask);
    case Activation::silu:
      return forward_of<Silu>(pre, up, hidden, count, mask);
  }
}

template <class T>
static void backward(Activation kind, const T* pre, const T* up, T* hidden, T* grad, T* grad_up, float* sum,
                     float* sum_up, size_t count, RowMask mask) {
  switch (kind) {
    case Activation::gelu:
      return backward_of<Gelu>(pre, up, hidden, grad, grad_up, sum, sum_up, count, mask);
    case Activation::gelu_tanh:
      return backward_of<GeluTanh>(pre, up, hidden, grad, grad_up, sum, sum_up, count, mask);
    case Activation::quick_gelu:
      return backward_of<QuickGelu>(pre, up, hidden, grad, grad_up, sum, sum_up, count, mask);
    case Activation::relu:
      return backward_of<Relu>(pre, up, hidden, grad, grad_up, sum, sum_up, count, mask);
    case Activation::silu:
      return backward_of<Silu>(pre, up, hidden, grad, grad_up, sum, sum_up, count, mask);
  }
}

const ActivationTable<float> activations_float = {forward<float>, backward<float>};
const ActivationTable<bf16> activations_bf16 = {forward<bf16>, backward<bf16>};

}  // namespace ISA
}  // namespace mindformers
