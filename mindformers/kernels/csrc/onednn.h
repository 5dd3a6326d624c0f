// The part of oneDNN's C interface that kernels use, taken at run time from the library inside the mindspore wheel.
//
// Declared here because that library comes without headers; names and numbers are those of oneDNN 3 (dnnl.h). The
// thread pool is handed over as a C++ object: `ThreadPool` has the virtual functions of dnnl_threadpool_iface.hpp in
// their order. `wait` stands last before the destructor and is new in 3.10; older versions never call that place.
#pragma once

#include <cstdint>
#include <functional>

namespace mindformers::onednn {

using Engine = struct EngineOf*;
using Stream = struct StreamOf*;
using MemoryDesc = struct MemoryDescOf*;
using Memory = struct MemoryOf*;
using Attributes = struct AttributesOf*;
using PostOps = struct PostOpsOf*;
using PrimitiveDesc = struct PrimitiveDescOf*;
using Primitive = struct PrimitiveOf*;
using Status = int;

constexpr int MOST_DIMENSIONS = 12;
using Dimensions = int64_t[MOST_DIMENSIONS];

struct Version {
  int major, minor, patch;
  const char* hash;
  unsigned cpu_runtime, gpu_runtime;
};

struct Argument {
  int number;
  Memory memory;
};

constexpr int CPU = 1;
constexpr int BF16 = 2, F32 = 3;
constexpr int USER_SCRATCHPAD = 1;
constexpr int QUERY_SCRATCHPAD = 136;
constexpr int SOURCE = 1, WEIGHTS = 33, BIAS = 41, DESTINATION = 17, SCRATCHPAD = 80;
constexpr unsigned THREADPOOL_RUNTIME = 8;
constexpr int ISA_AVX512_BF16 = 0xe7;

struct ThreadPool {
  virtual int get_num_threads() const = 0;
  virtual bool get_in_parallel() const = 0;
  virtual void parallel_for(int count, const std::function<void(int, int)>& task) = 0;
  virtual uint64_t get_flags() const = 0;
  virtual void wait() = 0;
  virtual ~ThreadPool() = default;
};

// Functions by the name that follows `dnnl_`.
struct Functions {
  const Version* (*version)();
  int (*get_effective_cpu_isa)();
  Status (*engine_create)(Engine*, int, size_t);
  Status (*threadpool_interop_stream_create)(Stream*, Engine, void*);
  Status (*threadpool_interop_set_max_concurrency)(int);
  Status (*memory_desc_create_with_strides)(MemoryDesc*, int, const Dimensions, int, const Dimensions);
  Status (*memory_desc_destroy)(MemoryDesc);
  size_t (*memory_desc_get_size)(const MemoryDescOf*);
  Status (*memory_create)(Memory*, const MemoryDescOf*, Engine, void*);
  Status (*memory_destroy)(Memory);
  Status (*primitive_attr_create)(Attributes*);
  Status (*primitive_attr_destroy)(Attributes);
  Status (*primitive_attr_set_scratchpad_mode)(Attributes, int);
  Status (*primitive_attr_set_post_ops)(Attributes, PostOps);
  Status (*post_ops_create)(PostOps*);
  Status (*post_ops_destroy)(PostOps);
  Status (*post_ops_append_sum)(PostOps, float, int32_t, int);
  Status (*matmul_primitive_desc_create)(PrimitiveDesc*, Engine, MemoryDesc, MemoryDesc, MemoryDesc, MemoryDesc,
                                         Attributes);
  Status (*primitive_desc_destroy)(PrimitiveDesc);
  const MemoryDescOf* (*primitive_desc_query_md)(PrimitiveDesc, int, int);
  Status (*primitive_create)(Primitive*, PrimitiveDesc);
  Status (*primitive_destroy)(Primitive);
  Status (*primitive_execute)(Primitive, Stream, int, const Argument*);
};

// The functions; throws KernelError when `mindformers_kernels_open` has not found them.
const Functions& functions();

// The processor, and a stream whose products run on the shared threads, or on the calling thread alone.
Engine engine();
Stream stream(bool alone);

// Throw KernelError naming `what` unless the status is success.
void check(Status status, const char* what);

}  // namespace mindformers::onednn
