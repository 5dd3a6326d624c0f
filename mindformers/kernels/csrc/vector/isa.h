// Instruction sets that elementwise code is compiled for, and the choice among them at run time.
//
// Files in this folder are plain loops, compiled once for each instruction set with ISA naming its namespace; each
// defines tables of functions, of which TABLE picks one by the processor. Such a file includes nothing that could
// leave an inline function behind: the linker keeps one copy, and it may be the one an older processor cannot run.
#pragma once

namespace mindformers {

enum class InstructionSet { portable, avx2, avx512 };

// The best set that this processor runs; MINDFORMERS_ISA may name a lesser one, for tests.
InstructionSet instruction_set();

#if defined(__x86_64__)
#define TABLE(Type, name)                                                                 \
  namespace portable {                                                                    \
  extern const Type name;                                                                 \
  }                                                                                       \
  namespace avx2 {                                                                        \
  extern const Type name;                                                                 \
  }                                                                                       \
  namespace avx512 {                                                                      \
  extern const Type name;                                                                 \
  }                                                                                       \
  inline const Type& name() {                                                             \
    switch (instruction_set()) {                                                          \
      case InstructionSet::avx512:                                                        \
        return avx512::name;                                                              \
      case InstructionSet::avx2:                                                          \
        return avx2::name;                                                                \
      default:                                                                            \
        return portable::name;                                                            \
    }                                                                                     \
  }
#else
#define TABLE(Type, name)       \
  namespace portable {          \
  extern const Type name;       \
  }                             \
  inline const Type& name() { return portable::name; }
#endif

}  // namespace mindformers
