#include "math.h"

namespace mindformers {
namespace ISA {

template <class T>
static void rotate(const T* from, const float* cosines, const float* sines, float sign, bool interleaved, T* to,
                   size_t count) {
  size_t half = count / 2, apart = interleaved ? 1 : half, step = interleaved ? 2 : 1;
  for (size_t i = 0; i < half; ++i) {
    size_t first = i * step, second = first + apart;
    float x = read(from + first), y = read(from + second);
    write(to + first, x * cosines[first] - y * sign * sines[first]);
    write(to + second, y * cosines[second] + x * sign * sines[second]);
  }
}

const RotaryTable<float> rotary_float = {rotate<float>};
const RotaryTable<bf16> rotary_bf16 = {rotate<bf16>};

}  // namespace ISA
}  // namespace mindformers
