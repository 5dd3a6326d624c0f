#include <cstdlib>
#include <string>

#include "export.h"
#include "vector/isa.h"

namespace mindformers {
namespace {

InstructionSet best() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    return InstructionSet::avx512;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return InstructionSet::avx2;
#endif
  return InstructionSet::portable;
}

InstructionSet chosen() {
  const char* text = std::getenv("MINDFORMERS_ISA");
  std::string wish = text ? text : "";
  InstructionSet most = best();
  InstructionSet wanted = wish == "portable" ? InstructionSet::portable
                          : wish == "avx2"   ? InstructionSet::avx2
                                             : InstructionSet::avx512;
  return wanted < most ? wanted : most;
}

}  // namespace

InstructionSet instruction_set() {
  static const InstructionSet found = chosen();
  return found;
}

}  // namespace mindformers

// The instruction set of the elementwise kernels: 0 portable, 1 AVX2, 2 AVX512.
EXPORT int mindformers_kernels_isa() { return int(mindformers::instruction_set()); }
