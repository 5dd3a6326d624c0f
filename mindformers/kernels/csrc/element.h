// Types of elements that kernels read and write, and a tensor as MindSpore hands it over.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mindformers {

// A number of eight bits of exponent and seven of mantissa: the upper half of a float.
struct bf16 {
  uint16_t bits;
};

enum class Element { float32, bfloat16, float64, int32, int8, other };

inline size_t size_of(Element element) {
  switch (element) {
    case Element::int8:
      return 1;
    case Element::bfloat16:
      return 2;
    case Element::float64:
      return 8;
    default:
      return 4;
  }
}

template <class T>
struct ElementOf;
template <>
struct ElementOf<float> {
  static constexpr Element value = Element::float32;
};
template <>
struct ElementOf<bf16> {
  static constexpr Element value = Element::bfloat16;
};
template <>
struct ElementOf<double> {
  static constexpr Element value = Element::float64;
};
template <>
struct ElementOf<int32_t> {
  static constexpr Element value = Element::int32;
};
template <>
struct ElementOf<int8_t> {
  static constexpr Element value = Element::int8;
};

// Rows of int8 end with their scale, a float32: the numbers of a row are its bytes times its scale.
constexpr int64_t SCALE_BYTES = sizeof(float);

}  // namespace mindformers
