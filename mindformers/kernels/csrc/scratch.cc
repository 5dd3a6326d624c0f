#include "scratch.h"

#include "export.h"

#include <pthread.h>

#include <cstdlib>
#include <map>
#include <mutex>
#include <new>

namespace mindformers {
namespace {

constexpr size_t MOST_KEPT = size_t(1) << 29;  // bytes

struct Blocks {
  std::mutex mutex;
  std::multimap<size_t, void*> free;  // by size
  size_t kept = 0;
};

Blocks* shared = nullptr;

Blocks& blocks() {
  static const bool made = [] {
    shared = new Blocks;
    pthread_atfork(nullptr, nullptr, [] { shared = new Blocks; });  // the lock may be held in the parent
    return true;
  }();
  (void)made;
  return *shared;
}

}  // namespace

Scratch::Scratch(size_t bytes) : size_((bytes + ALIGNMENT) / ALIGNMENT * ALIGNMENT) {
  Blocks& store = blocks();
  {
    std::lock_guard<std::mutex> lock(store.mutex);
    auto found = store.free.lower_bound(size_);
    if (found != store.free.end() && found->first / 2 <= size_) {
      size_ = found->first;
      data_ = found->second;
      store.kept -= size_;
      store.free.erase(found);
      return;
    }
  }
  data_ = std::aligned_alloc(ALIGNMENT, size_);
  if (!data_) throw std::bad_alloc();
}

Scratch::Scratch(Scratch&& other) noexcept : data_(other.data_), size_(other.size_) { other.data_ = nullptr; }

Scratch::~Scratch() {
  if (!data_) return;
  Blocks& store = blocks();
  std::lock_guard<std::mutex> lock(store.mutex);
  while (store.kept + size_ > MOST_KEPT && !store.free.empty()) {
    auto smallest = store.free.begin();
    store.kept -= smallest->first;
    std::free(smallest->second);
    store.free.erase(smallest);
  }
  if (store.kept + size_ > MOST_KEPT) {
    std::free(data_);
    return;
  }
  store.free.emplace(size_, data_);
  store.kept += size_;
}

}  // namespace mindformers

// Give all memory that is kept back to the system; return its bytes.
EXPORT size_t mindformers_kernels_release() {
  mindformers::Blocks& store = mindformers::blocks();
  std::lock_guard<std::mutex> lock(store.mutex);
  for (auto& [size, data] : store.free) std::free(data);
  store.free.clear();
  size_t kept = store.kept;
  store.kept = 0;
  return kept;
}
