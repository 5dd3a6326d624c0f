#include "math.h"

namespace mindformers {
namespace ISA {

static void widen(const bf16* from, float* to, size_t count) {
  for (size_t i = 0; i < count; ++i) to[i] = read(from + i);
}

static void narrow(const float* from, bf16* to, size_t count) {
  for (size_t i = 0; i < count; ++i) write(to + i, from[i]);
}

template <class T>
static void add(const T* from, float* sum, size_t count) {
  for (size_t i = 0; i < count; ++i) sum[i] += read(from + i);
}

template <class T>
static void expand(const int8_t* row, T* to, size_t count) {
  float scale = scale_of(row, count);
  for (size_t i = 0; i < count; ++i) write(to + i, read(row + i) * scale);
}

const CastTable casts = {widen, narrow, expand<float>, expand<bf16>, add<float>, add<bf16>};

}  // namespace ISA
}  // namespace mindformers
