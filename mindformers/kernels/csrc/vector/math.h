// Elementary functions without branches, for loops that the compiler turns into vector instructions; float32, relative
// errors of about 1e-7. Everything has internal linkage (isa.h says why).
#pragma once

#include "rows.h"

#define INLINE static inline __attribute__((always_inline))

namespace mindformers {
namespace ISA {

INLINE float from_bits(uint32_t bits) {
  float number;
  __builtin_memcpy(&number, &bits, sizeof number);
  return number;
}

INLINE uint32_t bits_of(float number) {
  uint32_t bits;
  __builtin_memcpy(&bits, &number, sizeof bits);
  return bits;
}

INLINE float read(const float* from) { return *from; }
INLINE float read(const bf16* from) { return from_bits(uint32_t(from->bits) << 16); }

INLINE float read(const int8_t* from) { return float(*from); }

// What a row of `count` numbers is to be multiplied by.
INLINE float scale_of(const float*, size_t) { return 1.0f; }
INLINE float scale_of(const bf16*, size_t) { return 1.0f; }
INLINE float scale_of(const int8_t* row, size_t count) {
  float scale;
  __builtin_memcpy(&scale, row + count, sizeof scale);
  return scale;
}

INLINE void write(float* to, float number) { *to = number; }

// To the nearest bf16, ties to even; what is not a number stays so.
INLINE void write(bf16* to, float number) {
  uint32_t bits = bits_of(number);
  uint32_t rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
  to->bits = uint16_t((bits & 0x7FFFFFFF) > 0x7F800000 ? 0x7FC0 : rounded);
}

INLINE float between(float low, float number, float high) {
  number = number < low ? low : number;
  return number > high ? high : number;
}

// e^x: 2^n e^r with |r| <= log(2) / 2 and e^r by its series, ended where the rest is below 1e-8. 0 below -87.
INLINE float exponential(float x) {
  const float shift = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number, which stands in the low bits
  float bounded = between(-87.0f, x, 88.0f);
  float shifted = bounded * 1.44269504f + shift;
  float whole = shifted - shift;
  float rest = bounded - whole * 0.693359375f;  // log(2) in two parts, the first of few bits
  rest = rest + whole * 2.12194440e-4f;
  float series = 1.0f / 5040;
  series = series * rest + 1.0f / 720;
  series = series * rest + 1.0f / 120;
  series = series * rest + 1.0f / 24;
  series = series * rest + 1.0f / 6;
  series = series * rest + 0.5f;
  series = series * rest + 1.0f;
  series = series * rest + 1.0f;
  float scale = from_bits((bits_of(shifted) << 23) + 0x3F800000);
  return x < -87.0f ? 0.0f : series * scale;
}

INLINE float sigmoid(float x) { return 1.0f / (1.0f + exponential(-x)); }

// erf: x P(x^2) up to 1, and 1 - e^-Q(|x|) beyond, with P and Q fitted at Chebyshev nodes (2e-7).
INLINE float error_function(float x) {
  float square = x * x;
  float near = -9.673591194e-06f;
  near = near * square + 1.126825373e-04f;
  near = near * square - 8.484396385e-04f;
  near = near * square + 5.221053492e-03f;
  near = near * square - 2.686543763e-02f;
  near = near * square + 1.128378287e-01f;
  near = near * square - 3.761263788e-01f;
  near = near * square + 1.128379226e+00f;
  float size = between(0.0f, x < 0.0f ? -x : x, 4.0f);
  float far = 1.330939085e-05f;
  far = far * size - 3.175720340e-04f;
  far = far * size + 3.436867613e-03f;
  far = far * size - 2.262198552e-02f;
  far = far * size + 1.033189818e-01f;
  far = far * size + 6.390933394e-01f;
  far = far * size + 1.125925899e+00f;
  far = far * size + 7.569686277e-04f;
  float beyond = 1.0f - exponential(-far);
  beyond = x < 0.0f ? -beyond : beyond;
  return square < 1.0f ? x * near : beyond;
}

// What an element of a masked row is multiplied with.
INLINE float kept(const RowMask& mask, size_t column) {
  return int32_t(mask.row * uint32_t(mask.columns[column])) >= mask.kept_from ? mask.scale : 0.0f;
}

}  // namespace ISA
}  // namespace mindformers
