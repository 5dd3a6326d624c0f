#include "call.h"

#include <chrono>
#include <cstdio>
#include <cstring>
#include <map>
#include <mutex>
#include <sstream>

namespace mindformers {
namespace {

std::mutex error_mutex;
std::string error_text;

struct Use {
  int64_t calls = 0;
  double seconds = 0;
};
std::mutex uses_mutex;
std::map<std::string, Use> uses;

Element element_named(const char* type) {
  if (!std::strcmp(type, "float32")) return Element::float32;
  if (!std::strcmp(type, "bfloat16")) return Element::bfloat16;
  if (!std::strcmp(type, "float64")) return Element::float64;
  if (!std::strcmp(type, "int32")) return Element::int32;
  if (!std::strcmp(type, "int8")) return Element::int8;
  return Element::other;
}

// MindSpore's own message has no place for the text, so it is also printed.
void keep_error(const std::string& text) {
  std::fprintf(stderr, "error: %s\n", text.c_str());
  std::lock_guard<std::mutex> lock(error_mutex);
  error_text = text;
}

}  // namespace

int64_t Tensor::size() const {
  int64_t size = 1;
  for (int i = 0; i < rank; ++i) size *= shape[i];
  return size;
}

int64_t Tensor::last() const { return rank ? shape[rank - 1] : 1; }

int64_t Tensor::columns() const { return last() - (element == Element::int8 ? SCALE_BYTES : 0); }

int64_t Tensor::rows() const { return last() ? size() / last() : 0; }

Tensor Call::tensor(int number) const {
  if (number >= count_) throw KernelError("there is no argument " + std::to_string(number));
  Tensor tensor{data_[number], ranks_[number], shapes_[number], element_named(types_[number])};
  if (tensor.element == Element::other) refuse_type(number);
  return tensor;
}

int Call::settings_place() const {
  for (int i = 0; i < count_; ++i) {
    if (element_named(types_[i]) == Element::float64) return i;
  }
  throw KernelError("there are no settings");
}

std::string Call::described() const {
  std::ostringstream text;
  for (int i = 0; i < count_; ++i) {
    text << (i ? ", " : "") << types_[i] << '[';
    for (int d = 0; d < ranks_[i]; ++d) text << (d ? "," : "") << shapes_[i][d];
    text << ']';
  }
  return text.str();
}

void Call::refuse_type(int number) const {
  throw KernelError("argument " + std::to_string(number) + " may not be " + types_[number]);
}

int guarded(const char* name, void (*body)(const Call&), const Call& call) {
  auto begin = std::chrono::steady_clock::now();
  try {
    body(call);
    std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begin;
    std::lock_guard<std::mutex> lock(uses_mutex);
    Use& use = uses[name];
    use.calls += 1;
    use.seconds += passed.count();
    return 0;
  } catch (const std::bad_alloc&) {
    keep_error(std::string(name) + ": no memory for its buffers; arguments: " + call.described());
  } catch (const std::exception& error) {
    keep_error(std::string(name) + ": " + error.what() + "; arguments: " + call.described());
  }
  return 1;
}

}  // namespace mindformers

// Copy the text of the last error into `buffer` of `size` bytes, and forget it; the text is empty when there is none.
EXPORT void mindformers_kernels_error(char* buffer, size_t size) {
  std::lock_guard<std::mutex> lock(mindformers::error_mutex);
  std::strncpy(buffer, mindformers::error_text.c_str(), size - 1);
  buffer[size - 1] = 0;
  mindformers::error_text.clear();
}

// Write "name calls seconds" of every kernel that has run, a line each, into `buffer` of `size` bytes, and begin anew.
EXPORT void mindformers_kernels_uses(char* buffer, size_t size) {
  std::lock_guard<std::mutex> lock(mindformers::uses_mutex);
  std::ostringstream text;
  for (auto& [name, use] : mindformers::uses) text << name << ' ' << use.calls << ' ' << use.seconds << '\n';
  std::strncpy(buffer, text.str().c_str(), size - 1);
  buffer[size - 1] = 0;
  mindformers::uses.clear();
}
