// Memory that kernels need while they run, taken from blocks that are kept between calls: pages of a fresh block cost
// more than the work on them. What is kept is bounded; `mindformers_kernels_release` gives it back to the system.
#pragma once

#include <cstddef>

namespace mindformers {

constexpr size_t ALIGNMENT = 64;

class Scratch {
 public:
  explicit Scratch(size_t bytes);  // throws std::bad_alloc
  Scratch(Scratch&& other) noexcept;
  Scratch(const Scratch&) = delete;
  ~Scratch();

  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_;
  size_t size_;
};

// A buffer of `count` elements.
template <class T>
class Buffer {
 public:
  explicit Buffer(size_t count) : scratch_(count * sizeof(T)) {}
  operator T*() const { return scratch_.as<T>(); }

 private:
  Scratch scratch_;
};

}  // namespace mindformers
