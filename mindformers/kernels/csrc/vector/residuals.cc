#include "math.h"

namespace mindformers {
namespace ISA {

template <class T, bool DROPS>
static void add_row(const float* residual, const T* branch, float* out, size_t count, RowMask mask) {
#pragma omp simd
  for (size_t i = 0; i < count; ++i) out[i] = residual[i] + read(branch + i) * (DROPS ? kept(mask, i) : 1.0f);
}

template <class T, bool DROPS>
static void drop_row(const float* x, T* out, size_t count, RowMask mask) {
#pragma omp simd
  for (size_t i = 0; i < count; ++i) write(out + i, x[i] * (DROPS ? kept(mask, i) : 1.0f));
}

template <class T>
static void add(const float* residual, const T* branch, float* out, size_t count, RowMask mask) {
  (mask.columns ? add_row<T, true> : add_row<T, false>)(residual, branch, out, count, mask);
}

template <class T>
static void drop(const float* x, T* out, size_t count, RowMask mask) {
  (mask.columns ? drop_row<T, true> : drop_row<T, false>)(x, out, count, mask);
}

const ResidualTable<float> residuals_float = {add<float>, drop<float>};
const ResidualTable<bf16> residuals_bf16 = {add<bf16>, drop<bf16>};

}  // namespace ISA
}  // namespace mindformers
