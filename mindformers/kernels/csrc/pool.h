// The threads that all kernels share.
//
// One set of threads and never OpenMP: its workers spin beside MindSpore's own. The caller takes part in the work; a
// call from within a task runs on the calling thread; callers that come at the same time take turns.
#pragma once

#include <cstdint>
#include <functional>

namespace mindformers {

// Threads that work together, the caller included: MINDFORMERS_THREADS, or the processors of this process's affinity,
// at most as many as the quota of its control group allows.
int thread_count();

// Whether the calling thread is inside a task.
bool in_task();

// Run task(0) ... task(count - 1) in any order on all threads; an exception of a task is thrown here.
void run_tasks(int64_t count, const std::function<void(int64_t)>& task);

// Cut [0, rows) into pieces, of which each is worth `row_work` elements a row, and run body(begin, end) for them.
void for_rows(int64_t rows, int64_t row_work, const std::function<void(int64_t, int64_t)>& body);

// Number of pieces that sums over rows are cut into: fixed, so that a sum does not depend on the number of threads.
constexpr int64_t SUM_PIECES = 32;

// Run body(piece, begin, end) for pieces of [0, rows), at most SUM_PIECES; return their number.
int64_t for_sum_pieces(int64_t rows, const std::function<void(int64_t, int64_t, int64_t)>& body);

}  // namespace mindformers
