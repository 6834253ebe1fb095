// The threads: some tens of microseconds they wait awake, because the next kernel is that near, then they sleep. OpenMP's
// would stay awake and take the processor from MindSpore's own.
#include "threads.hpp"

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace ghost {
namespace {

constexpr int kSpins = 2000;

inline void relax() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

class Pool {
 public:
  static Pool &instance() {
    // Never destroyed: a thread of MindSpore may still be in a kernel while the process ends.
    static Pool *pool = new Pool;
    return *pool;
  }

  void resize(int threads) {
    std::lock_guard<std::mutex> hold(user_);
    wanted_ = threads < 1 ? 1 : threads;
  }

  void run(int64_t tasks, const std::function<void(int64_t)> &body) {
    std::unique_lock<std::mutex> hold(user_, std::try_to_lock);
    // Two kernels at once: the second is a thread of its own already.
    if (tasks < 2 || wanted_ < 2 || !hold.owns_lock()) {
      for (int64_t i = 0; i < tasks; ++i) body(i);
      return;
    }
    while (workers_ < wanted_ - 1) start();
    body_ = &body;
    tasks_ = tasks;
    next_.store(0);
    gate_.store(0);
    {
      std::lock_guard<std::mutex> wake(sleep_);
      round_.fetch_add(1);
    }
    bell_.notify_all();
    work();
    // Whoever is still asleep is not waited for: there is nothing left to do.
    gate_.fetch_sub(kClosed);
    for (int spin = 0; gate_.load() != -kClosed; ++spin)
      if (spin < kSpins) relax(); else std::this_thread::yield();
  }

 private:
  static constexpr int64_t kClosed = int64_t{1} << 40;

  void work() {
    for (int64_t i = next_.fetch_add(1); i < tasks_; i = next_.fetch_add(1)) (*body_)(i);
  }

  bool enter() {
    int64_t inside = gate_.load();
    while (inside >= 0)
      if (gate_.compare_exchange_weak(inside, inside + 1)) return true;
    return false;
  }

  void start() {
    const int number = workers_++;
    std::thread([this, number, seen = round_.load()]() mutable {
      for (;;) {
        for (int spin = 0; spin < kSpins && round_.load() == seen; ++spin) relax();
        if (round_.load() == seen) {
          std::unique_lock<std::mutex> wait(sleep_);
          bell_.wait(wait, [&] { return round_.load() != seen; });
        }
        seen = round_.load();
        // A pool made smaller leaves some without work.
        if (number < wanted_ - 1 && enter()) {
          work();
          gate_.fetch_sub(1);
        }
      }
    }).detach();
  }

  std::mutex user_, sleep_;
  std::condition_variable bell_;
  std::atomic<int64_t> next_{0}, round_{0};
  // Threads inside the round, less kClosed while no round is open.
  std::atomic<int64_t> gate_{-kClosed};
  std::atomic<int> wanted_{1};
  const std::function<void(int64_t)> *body_ = nullptr;
  int64_t tasks_ = 0;
  int workers_ = 0;
};

}  // namespace

void parallel(int64_t tasks, const std::function<void(int64_t)> &body) { Pool::instance().run(tasks, body); }

float *scratch(int slot, int64_t floats) {
  thread_local std::vector<float> kept[kScratch];
  std::vector<float> &buffer = kept[slot];
  if (static_cast<int64_t>(buffer.size()) < floats) {
    buffer.clear();
    buffer.resize(floats);
  }
  return buffer.data();
}

}  // namespace ghost

extern "C" void ghost_threads(int threads) { ghost::Pool::instance().resize(threads); }
