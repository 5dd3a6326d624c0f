// A register's numbers as one value, for sums that must stay in registers.
#pragma once

#include "math.h"

namespace mindformers {
namespace ISA {

#if defined(__AVX512F__)
#define REGISTER 64
#elif defined(__AVX__)
#define REGISTER 32
#else
#define REGISTER 16
#endif

constexpr size_t LANES = REGISTER / sizeof(float);
constexpr size_t TILE = REGISTER == 64 ? 4 : 2;  // rows of x whose sums fit into the registers beside four others

typedef float Lanes __attribute__((vector_size(REGISTER)));
typedef uint32_t Words __attribute__((vector_size(REGISTER)));
typedef int32_t Whole __attribute__((vector_size(REGISTER)));
typedef uint16_t Halves __attribute__((vector_size(REGISTER / 2)));
typedef int16_t Shorts __attribute__((vector_size(REGISTER / 2)));
typedef int8_t Bytes __attribute__((vector_size(REGISTER / 4)));

INLINE Lanes load(const float* from) {
  Lanes lanes;
  __builtin_memcpy(&lanes, from, sizeof lanes);
  return lanes;
}

INLINE Lanes load(const bf16* from) {
  Halves halves;
  __builtin_memcpy(&halves, from, sizeof halves);
  return reinterpret_cast<Lanes>(__builtin_convertvector(halves, Words) << 16);
}

INLINE Lanes load(const int8_t* from) {
  Bytes bytes;
  __builtin_memcpy(&bytes, from, sizeof bytes);
  Shorts shorts = __builtin_convertvector(bytes, Shorts);  // one step to Whole would be taken number by number
  return __builtin_convertvector(__builtin_convertvector(shorts, Whole), Lanes);
}

INLINE void store(float* to, Lanes lanes) { __builtin_memcpy(to, &lanes, sizeof lanes); }

// The sum of all numbers: halves onto each other until four are left.
INLINE float total(Lanes lanes) {
  typedef float Quarter __attribute__((vector_size(16)));
  Quarter parts[REGISTER / 16];
  __builtin_memcpy(parts, &lanes, sizeof lanes);
#pragma GCC unroll 4
  for (size_t count = REGISTER / 32; count > 0; count /= 2) {
#pragma GCC unroll 4
    for (size_t i = 0; i < count; ++i) parts[i] += parts[i + count];
  }
  return (parts[0][0] + parts[0][2]) + (parts[0][1] + parts[0][3]);
}

}  // namespace ISA
}  // namespace mindformers
