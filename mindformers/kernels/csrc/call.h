// The border to MindSpore: arguments of a custom operator with their types checked, and errors as text.
//
// MindSpore calls `int f(count, data, ranks, shapes, types, stream, extra)` with inputs and then outputs. No exception
// may leave such a function, so KERNEL catches them, keeps the text and the shapes for `mindformers_kernels_error`, and
// returns a number that is not zero.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

#include "element.h"
#include "export.h"

namespace mindformers {

// What a kernel throws when its arguments do not fit together.
struct KernelError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// One argument: its elements, read only if it is an input, and its shape.
struct Tensor {
  void* data;
  int rank;
  const int64_t* shape;
  Element element;

  int64_t size() const;         // number of elements
  int64_t last() const;         // size of the last dimension
  int64_t columns() const;      // numbers of a row, without its scale
  int64_t rows() const;         // number of elements / last()
  int64_t at(int dimension) const { return shape[dimension]; }
};

class Call {
 public:
  Call(int count, void** data, int* ranks, int64_t** shapes, const char** types)
      : count_(count), data_(data), ranks_(ranks), shapes_(shapes), types_(types) {}

  int count() const { return count_; }

  // Argument `number` of any type that kernels know.
  Tensor tensor(int number) const;

  // The elements of argument `number`, which must be of type T.
  template <class T>
  T* of(int number) const {
    Tensor found = tensor(number);
    if (found.element != ElementOf<T>::value) refuse_type(number);
    return static_cast<T*>(found.data);
  }

  // The number of the settings: the last input and the only argument of type float64, which holds integers of 32 bits
  // and rates exactly.
  int settings_place() const;

  // Entry `place` of the settings, which are argument `number`.
  double setting(int number, int place) const { return of<double>(number)[place]; }

  // Whether argument `number` is bfloat16, and with it the type that a kernel computes with.
  bool is_narrow(int number) const { return tensor(number).element == Element::bfloat16; }

  // All shapes and types, for messages.
  std::string described() const;

 private:
  [[noreturn]] void refuse_type(int number) const;

  int count_;
  void** data_;
  int* ranks_;
  int64_t** shapes_;
  const char** types_;
};

// Throw KernelError with `message` unless `holds`.
inline void require(bool holds, const char* message) {
  if (!holds) throw KernelError(message);
}

// Run `body`, turn what it throws into kept text; 0 when it ended well.
int guarded(const char* name, void (*body)(const Call&), const Call& call);

}  // namespace mindformers

// KERNEL(name) { ... call ... } defines the C function `name` of MindSpore's signature.
#define KERNEL(name)                                                                                            \
  static void name##_body(const mindformers::Call& call);                                                       \
  EXPORT int name(int count, void** data, int* ranks, int64_t** shapes, const char** types, void*, void*) { \
    return mindformers::guarded(#name, name##_body, mindformers::Call(count, data, ranks, shapes, types));      \
  }                                                                                                             \
  static void name##_body(const mindformers::Call& call)
