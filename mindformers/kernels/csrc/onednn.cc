#include "onednn.h"

#include <dlfcn.h>

#include <cstdio>
#include <mutex>
#include <string>

#include "call.h"
#include "pool.h"

namespace mindformers::onednn {
namespace {

Functions loaded;
bool is_loaded = false;

// oneDNN's view of the shared threads.
class SharedThreads : public ThreadPool {
 public:
  int get_num_threads() const override { return thread_count(); }
  bool get_in_parallel() const override { return in_task(); }
  void parallel_for(int count, const std::function<void(int, int)>& task) override {
    run_tasks(count, [&](int64_t i) { task(int(i), count); });
  }
  uint64_t get_flags() const override { return 0; }  // parallel_for returns when all is done
  void wait() override {}
};

template <class F>
void find(void* library, const char* name, F& function) {
  std::string symbol = std::string("dnnl_") + name;
  function = reinterpret_cast<F>(dlsym(library, symbol.c_str()));
  if (!function) throw KernelError("it has no function " + symbol);
}

void load(const char* path) {
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) throw KernelError(dlerror());
#define FIND(name) find(library, #name, loaded.name)
  FIND(version);
  const Version& version = *loaded.version();
  if (version.major != 3) throw KernelError("it is version " + std::to_string(version.major) + "; needed is 3");
  if (version.cpu_runtime != THREADPOOL_RUNTIME) throw KernelError("it was not built to run on a caller's threads");
  FIND(get_effective_cpu_isa);
  FIND(engine_create);
  FIND(threadpool_interop_stream_create);
  FIND(threadpool_interop_set_max_concurrency);
  FIND(memory_desc_create_with_strides);
  FIND(memory_desc_destroy);
  FIND(memory_desc_get_size);
  FIND(memory_create);
  FIND(memory_destroy);
  FIND(primitive_attr_create);
  FIND(primitive_attr_destroy);
  FIND(primitive_attr_set_scratchpad_mode);
  FIND(primitive_attr_set_post_ops);
  FIND(post_ops_create);
  FIND(post_ops_destroy);
  FIND(post_ops_append_sum);
  FIND(matmul_primitive_desc_create);
  FIND(primitive_desc_destroy);
  FIND(primitive_desc_query_md);
  FIND(primitive_create);
  FIND(primitive_destroy);
  FIND(primitive_execute);
#undef FIND
  is_loaded = true;
}

Stream make_stream(bool alone) {
  static SharedThreads threads;
  Stream made;
  check(functions().threadpool_interop_stream_create(&made, engine(), alone ? nullptr : static_cast<void*>(&threads)),
        "make a stream");
  return made;
}

}  // namespace

const Functions& functions() {
  require(is_loaded, "oneDNN is not loaded");
  return loaded;
}

Engine engine() {
  static Engine made = [] {
    Engine engine;
    check(functions().engine_create(&engine, CPU, 0), "make an engine");
    return engine;
  }();
  return made;
}

Stream stream(bool alone) {
  static Stream on_all = make_stream(false), on_one = make_stream(true);
  return alone ? on_one : on_all;
}

void check(Status status, const char* what) {
  if (status) throw KernelError(std::string("oneDNN could not ") + what + " (status " + std::to_string(status) + ")");
}

}  // namespace mindformers::onednn

// Load oneDNN from `path`. Return its effective instruction set (dnnl_cpu_isa_t), or -1 with the reason in `why`.
EXPORT int mindformers_kernels_open(const char* path, char* why, size_t size) {
  using namespace mindformers::onednn;
  try {
    if (!is_loaded) load(path);
    return loaded.get_effective_cpu_isa();
  } catch (const std::exception& error) {
    std::snprintf(why, size, "%s", error.what());
    return -1;
  }
}

// oneDNN's version, as major * 10000 + minor * 100 + patch.
EXPORT int mindformers_kernels_onednn_version() {
  const auto& version = *mindformers::onednn::functions().version();
  return version.major * 10000 + version.minor * 100 + version.patch;
}
