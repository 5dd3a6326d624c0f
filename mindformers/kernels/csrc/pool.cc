#include "pool.h"

#include "export.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

namespace mindformers {
namespace {

constexpr int SPINS = 4000;              // turns that a thread waits awake, some tenths of a millisecond
constexpr int64_t LEAST_WORK = 1 << 14;  // elements that are not worth waking other threads for
constexpr int MOST_THREADS = 1024;

thread_local bool inside_task = false;

// Let a thread run that has no processor: perhaps the one that is waited for.
inline void give_way() { sched_yield(); }

inline void breathe() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Processors that the control group pays for, or a large number: "quota period" of version 2, two files of version 1.
double quota_of_group() {
  double quota = -1, period = -1;
  if (std::FILE* file = std::fopen("/sys/fs/cgroup/cpu.max", "r")) {
    if (std::fscanf(file, "%lf %lf", &quota, &period) != 2) quota = -1;
    std::fclose(file);
  } else {
    for (auto& [path, value] : {std::pair{"/sys/fs/cgroup/cpu/cpu.cfs_quota_us", &quota},
                                std::pair{"/sys/fs/cgroup/cpu/cpu.cfs_period_us", &period}}) {
      if (std::FILE* file = std::fopen(path, "r")) {
        if (std::fscanf(file, "%lf", value) != 1) *value = -1;
        std::fclose(file);
      }
    }
  }
  return quota > 0 && period > 0 ? quota / period : MOST_THREADS;
}

int wanted_threads() {
  if (const char* text = std::getenv("MINDFORMERS_THREADS")) {
    int number = std::atoi(text);
    if (number >= 1) return std::min(number, MOST_THREADS);
  }
  int processors = int(std::thread::hardware_concurrency());
  cpu_set_t allowed;
  if (!sched_getaffinity(0, sizeof allowed, &allowed)) processors = CPU_COUNT(&allowed);
  int paid = int(std::ceil(quota_of_group()));
  return std::max(1, std::min({processors, paid, MOST_THREADS}));
}

class Pool {
 public:
  explicit Pool(int threads) : threads_(threads) {
    for (int i = 1; i < threads; ++i) std::thread([this] { work(); }).detach();
  }

  int threads() const { return threads_; }

  void run(int64_t count, const std::function<void(int64_t)>& task) {
    std::lock_guard<std::mutex> turn(turn_);
    task_ = &task;
    count_ = count;
    next_ = 0;
    failure_ = nullptr;
    pending_ = threads_ - 1;
    {
      std::lock_guard<std::mutex> lock(sleep_);
      round_.fetch_add(1);
    }
    wake_.notify_all();
    drain();
    for (int spin = 0; pending_.load(); ++spin < SPINS ? breathe() : give_way()) {
    }
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  void work() {
    for (uint64_t seen = 0;;) {
      for (int spin = 0; round_.load() == seen; breathe()) {
        if (++spin < SPINS) continue;
        std::unique_lock<std::mutex> lock(sleep_);
        wake_.wait(lock, [&] { return round_.load() != seen; });
      }
      seen = round_.load();  // the next round begins only when this thread has ended this one
      drain();
      pending_.fetch_sub(1);
    }
  }

  void drain() {
    inside_task = true;
    for (int64_t i; (i = next_.fetch_add(1)) < count_;) {
      try {
        (*task_)(i);
      } catch (...) {
        std::lock_guard<std::mutex> lock(sleep_);
        failure_ = std::current_exception();
      }
    }
    inside_task = false;
  }

  const int threads_;
  std::mutex turn_, sleep_;
  std::condition_variable wake_;
  std::atomic<uint64_t> round_{0};
  std::atomic<int64_t> next_{0};
  std::atomic<int> pending_{0};
  const std::function<void(int64_t)>* task_ = nullptr;
  int64_t count_ = 0;
  std::exception_ptr failure_;
};

std::atomic<Pool*> shared{nullptr};

// Threads do not live on in the child of a fork, and locks may be held there forever: it starts a pool of its own.
void forget_threads() {
  shared = nullptr;
  inside_task = false;
}

Pool& pool() {
  static std::mutex making;
  Pool* found = shared.load();
  if (found) return *found;
  std::lock_guard<std::mutex> lock(making);
  if (!shared.load()) {
    static const int registered = pthread_atfork(nullptr, nullptr, forget_threads);
    (void)registered;
    shared = new Pool(wanted_threads());  // never deleted: its threads may wait in it while the process ends
  }
  return *shared.load();
}

}  // namespace

int thread_count() { return pool().threads(); }

bool in_task() { return inside_task; }

void run_tasks(int64_t count, const std::function<void(int64_t)>& task) {
  if (count <= 1 || inside_task || thread_count() == 1) {
    for (int64_t i = 0; i < count; ++i) task(i);
    return;
  }
  pool().run(count, task);
}

void for_rows(int64_t rows, int64_t row_work, const std::function<void(int64_t, int64_t)>& body) {
  int64_t pieces = rows * row_work < LEAST_WORK ? 1 : std::min<int64_t>(rows, 4 * thread_count());
  run_tasks(pieces, [&](int64_t piece) { body(rows * piece / pieces, rows * (piece + 1) / pieces); });
}

int64_t for_sum_pieces(int64_t rows, const std::function<void(int64_t, int64_t, int64_t)>& body) {
  int64_t pieces = std::min(rows, SUM_PIECES);
  run_tasks(pieces, [&](int64_t piece) { body(piece, rows * piece / pieces, rows * (piece + 1) / pieces); });
  return pieces;
}

}  // namespace mindformers

EXPORT int mindformers_kernels_threads() { return mindformers::thread_count(); }
