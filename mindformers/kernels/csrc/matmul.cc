#include "matmul.h"

#include <pthread.h>

#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "call.h"
#include "pool.h"
#include "scratch.h"

namespace mindformers {
namespace {

using onednn::check;
using onednn::functions;

constexpr size_t MOST_PRODUCTS = 512;

// Least recently used products make room for new ones.
struct Products {
  using Entry = std::pair<MatmulShape, std::shared_ptr<const Matmul>>;
  std::mutex mutex;
  std::list<Entry> used;  // the newest first
  std::map<MatmulShape, std::list<Entry>::iterator> places;
};

Products* shared = nullptr;

Products& products() {
  static const bool made = [] {
    shared = new Products;
    pthread_atfork(nullptr, nullptr, [] { shared = new Products; });  // the lock may be held in the parent
    return true;
  }();
  (void)made;
  return *shared;
}

auto members(const MatmulShape& s) {
  return std::make_tuple(s.m, s.n, s.k, s.a.row, s.a.column, s.b.row, s.b.column, s.c_row, int(s.in), int(s.out),
                         s.has_bias, s.accumulates, s.alone);
}

onednn::MemoryDesc describe(int64_t rows, int64_t columns, Strides strides, Element element) {
  onednn::Dimensions sizes = {rows, columns}, steps = {strides.row, strides.column};
  int type = element == Element::bfloat16 ? onednn::BF16 : onednn::F32;
  onednn::MemoryDesc made;
  check(functions().memory_desc_create_with_strides(&made, 2, sizes, type, steps), "describe a matrix");
  return made;
}

// A matrix of oneDNN for the time of one product.
class Borrowed {
 public:
  Borrowed(const onednn::MemoryDescOf* desc, const void* data) {
    check(functions().memory_create(&memory, desc, onednn::engine(), const_cast<void*>(data)), "take a matrix");
  }
  Borrowed(const Borrowed&) = delete;
  ~Borrowed() { functions().memory_destroy(memory); }

  onednn::Memory memory;
};

}  // namespace

bool MatmulShape::operator<(const MatmulShape& other) const { return members(*this) < members(other); }

Matmul::Matmul(const MatmulShape& shape) : Matmul(shape, nullptr) {
  const auto& dnnl = functions();
  a_ = describe(shape.m, shape.k, shape.a, shape.in);
  b_ = describe(shape.k, shape.n, shape.b, shape.in);
  c_ = describe(shape.m, shape.n, by_rows(shape.c_row), shape.out);
  if (shape.has_bias) bias_ = describe(1, shape.n, by_rows(shape.n), Element::float32);
  onednn::Attributes attributes;
  check(dnnl.primitive_attr_create(&attributes), "make attributes");
  check(dnnl.primitive_attr_set_scratchpad_mode(attributes, onednn::USER_SCRATCHPAD), "set its scratchpad");
  if (shape.accumulates) {
    onednn::PostOps sum;
    check(dnnl.post_ops_create(&sum), "make a sum");
    check(dnnl.post_ops_append_sum(sum, 1.0f, 0, 0), "make a sum");
    check(dnnl.primitive_attr_set_post_ops(attributes, sum), "set a sum");
    dnnl.post_ops_destroy(sum);
  }
  check(dnnl.threadpool_interop_set_max_concurrency(shape.alone ? 1 : thread_count()), "set the number of threads");
  auto status = dnnl.matmul_primitive_desc_create(&desc_, onednn::engine(), a_, b_, bias_, c_, attributes);
  dnnl.primitive_attr_destroy(attributes);
  if (status) {
    throw KernelError("oneDNN has no product of [" + std::to_string(shape.m) + ", " + std::to_string(shape.k) +
                      "] and [" + std::to_string(shape.k) + ", " + std::to_string(shape.n) + "] (status " +
                      std::to_string(status) + ")");
  }
  if (auto* desc = dnnl.primitive_desc_query_md(desc_, onednn::QUERY_SCRATCHPAD, 0)) {
    scratch_ = dnnl.memory_desc_get_size(desc);
  }
  check(dnnl.primitive_create(&primitive_, desc_), "make a product");
}

Matmul::~Matmul() {
  const auto& dnnl = functions();
  if (primitive_) dnnl.primitive_destroy(primitive_);
  if (desc_) dnnl.primitive_desc_destroy(desc_);
  for (auto desc : {a_, b_, c_, bias_}) {
    if (desc) dnnl.memory_desc_destroy(desc);
  }
}

void Matmul::operator()(const void* a, const void* b, void* c, const float* bias) const {
  Borrowed a_memory(a_, a), b_memory(b_, b), c_memory(c_, c);
  onednn::Argument arguments[5] = {{onednn::SOURCE, a_memory.memory},
                                   {onednn::WEIGHTS, b_memory.memory},
                                   {onednn::DESTINATION, c_memory.memory}};
  int count = 3;
  std::optional<Borrowed> bias_memory, scratch_memory;
  if (bias_) {
    bias_memory.emplace(bias_, bias);
    arguments[count++] = {onednn::BIAS, bias_memory->memory};
  }
  std::optional<Scratch> scratch;
  if (scratch_) {
    scratch.emplace(scratch_);
    auto* scratch_desc = functions().primitive_desc_query_md(desc_, onednn::QUERY_SCRATCHPAD, 0);
    scratch_memory.emplace(scratch_desc, scratch->as<void>());
    arguments[count++] = {onednn::SCRATCHPAD, scratch_memory->memory};
  }
  check(functions().primitive_execute(primitive_, onednn::stream(shape_.alone), count, arguments), "multiply");
}

std::shared_ptr<const Matmul> matmul(const MatmulShape& shape) {
  Products& store = products();
  {
    std::lock_guard<std::mutex> lock(store.mutex);
    auto found = store.places.find(shape);
    if (found != store.places.end()) {
      store.used.splice(store.used.begin(), store.used, found->second);
      return found->second->second;
    }
  }
  auto made = std::make_shared<const Matmul>(shape);
  std::lock_guard<std::mutex> lock(store.mutex);
  auto found = store.places.find(shape);
  if (found != store.places.end()) return found->second->second;  // another thread was faster
  store.used.emplace_front(shape, made);
  store.places[shape] = store.used.begin();
  if (store.used.size() > MOST_PRODUCTS) {
    store.places.erase(store.used.back().first);
    store.used.pop_back();
  }
  return made;
}

}  // namespace mindformers
