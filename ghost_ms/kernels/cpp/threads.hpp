// Work shared by the threads of this library. What a task computes never depends on who takes it, so bits do not depend
// on the number of threads.
#pragma once

#include <cstdint>
#include <functional>

namespace ghost {

// Calls body(0) .. body(tasks - 1), each once, in any order and on any thread; returns when all have returned.
void parallel(int64_t tasks, const std::function<void(int64_t)> &body);

// Places of `scratch`.
constexpr int kScratch = 12;

// Memory of the calling thread, kept for its next kernel: `slot` tells apart what one kernel needs at the same time.
float *scratch(int slot, int64_t floats);

}  // namespace ghost
