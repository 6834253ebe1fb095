// Every row is read from memory once and worked on in the cache; tasks are blocks of rows or of numbers of a fixed size.
#include "rows.hpp"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "activation.hpp"
#include "threads.hpp"
#include "vector.hpp"

namespace ghost {
namespace {

// Floats of a task: a fraction of a core's second cache.
constexpr int64_t kBlock = 16384;

template <typename Body>
void blocks_of_rows(int64_t rows, int64_t length, Body &&body) {
  const int64_t each = std::max<int64_t>(1, kBlock / std::max<int64_t>(1, length));
  parallel((rows + each - 1) / each,
           [&](int64_t task) { body(task * each, std::min(rows, (task + 1) * each), task); });
}

// Sum of body(i) over [0, length) in vectors of four registers, then in double.
template <typename Body>
inline double total(int64_t length, Body &&body) {
  constexpr int kSums = 4 * kLanes;
  constexpr int64_t kStretch = 1024;
  double all = 0;
  for (int64_t at = 0; at < length; at += kStretch) {
    const int64_t end = std::min(length, at + kStretch);
    float sums[kSums] = {};
    int64_t i = at;
    for (; i + kSums <= end; i += kSums)
      for (int j = 0; j < kSums; ++j) sums[j] += body(i + j);
    for (int j = 0; i + j < end; ++j) sums[j] += body(i + j);
    for (int j = kLanes; j < kSums; j += kLanes) store(sums, load(sums) + load(sums + j));
    all += sum(load(sums));
  }
  return all;
}

}  // namespace

bool elementwise(int act, int64_t count, const float *x, float *y) {
  return with_act(act, [&](auto kind) {
    blocks_of_rows(count, 1, [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t i = begin; i < end; ++i) y[i] = apply<decltype(kind)::value>(x[i]);
    });
  });
}

bool elementwise_backward(int act, int64_t count, const float *x, const float *dy, float *dx) {
  return with_act(act, [&](auto kind) {
    blocks_of_rows(count, 1, [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t i = begin; i < end; ++i) dx[i] = slope<decltype(kind)::value>(x[i], dy[i]);
    });
  });
}

void mean_forward(int64_t rows, int64_t length, const float *x, float *y) {
  blocks_of_rows(rows, length, [&](int64_t begin, int64_t end, int64_t) {
    for (int64_t r = begin; r < end; ++r) {
      const float *row = x + r * length;
      y[r] = static_cast<float>(total(length, [=](int64_t i) { return row[i]; }) / length);
    }
  });
}

void mean_backward(int64_t rows, int64_t length, const float *dy, float *dx) {
  const float share = 1.0f / static_cast<float>(length);
  blocks_of_rows(rows, length, [&](int64_t begin, int64_t end, int64_t) {
    for (int64_t r = begin; r < end; ++r) std::fill(dx + r * length, dx + (r + 1) * length, dy[r] * share);
  });
}

void gate_forward(int64_t rows, int64_t length, const float *x, const float *gate, float *y) {
  blocks_of_rows(rows, length, [&](int64_t begin, int64_t end, int64_t) {
    for (int64_t r = begin; r < end; ++r) {
      const float by = gate[r];
      for (int64_t i = r * length; i < (r + 1) * length; ++i) y[i] = x[i] * by;
    }
  });
}

void gate_backward(int64_t rows, int64_t length, const float *x, const float *gate, const float *dy, float *dx,
                   float *dgate) {
  blocks_of_rows(rows, length, [&](int64_t begin, int64_t end, int64_t) {
    for (int64_t r = begin; r < end; ++r) {
      const float by = gate[r], *row = x + r * length, *gradient = dy + r * length;
      float *to = dx + r * length;
      dgate[r] = static_cast<float>(total(length, [=](int64_t i) { return row[i] * gradient[i]; }));
      for (int64_t i = 0; i < length; ++i) to[i] = gradient[i] * by;
    }
  });
}

void layer_norm_forward(int64_t rows, int64_t length, float epsilon, const float *x, const float *gamma,
                        const float *beta, float *y, float *mean, float *inverse) {
  blocks_of_rows(rows, length, [&](int64_t begin, int64_t end, int64_t) {
    for (int64_t r = begin; r < end; ++r) {
      const float *row = x + r * length;
      float *to = y + r * length;
      const float centre = static_cast<float>(total(length, [=](int64_t i) { return row[i]; }) / length);
      const double squares = total(length, [=](int64_t i) { return (row[i] - centre) * (row[i] - centre); });
      const float by = static_cast<float>(1.0 / std::sqrt(squares / length + epsilon));
      for (int64_t i = 0; i < length; ++i) to[i] = (row[i] - centre) * by * gamma[i] + beta[i];
      mean[r] = centre;
      inverse[r] = by;
    }
  });
}

void layer_norm_backward(int64_t rows, int64_t length, const float *x, const float *gamma, const float *mean,
                         const float *inverse, const float *dy, float *dx, float *dgamma, float *dbeta) {
  // Every block of rows has sums of its own, added in the order of the blocks.
  const int64_t each = std::max<int64_t>(64, kBlock / length), blocks = (rows + each - 1) / each;
  float *parts = scratch(0, 2 * length * blocks);
  parallel(blocks, [&](int64_t block) {
    float *by_gamma = parts + 2 * length * block, *by_beta = by_gamma + length;
    std::fill(by_gamma, by_gamma + 2 * length, 0.0f);
    for (int64_t r = block * each; r < std::min(rows, (block + 1) * each); ++r) {
      const float *row = x + r * length, *gradient = dy + r * length, centre = mean[r], by = inverse[r];
      float *to = dx + r * length;
      for (int64_t i = 0; i < length; ++i) {
        by_gamma[i] += gradient[i] * ((row[i] - centre) * by);
        by_beta[i] += gradient[i];
      }
      const double plain = total(length, [=](int64_t i) { return gradient[i] * gamma[i]; });
      const double centred =
          total(length, [=](int64_t i) { return gradient[i] * gamma[i] * ((row[i] - centre) * by); });
      const float first = static_cast<float>(plain / length), second = static_cast<float>(centred / length);
      for (int64_t i = 0; i < length; ++i)
        to[i] = by * (gradient[i] * gamma[i] - first - (row[i] - centre) * by * second);
    }
  });
  for (int64_t i = 0; i < length; ++i) {
    double by_gamma = 0, by_beta = 0;
    for (int64_t block = 0; block < blocks; ++block) {
      by_gamma += parts[2 * length * block + i];
      by_beta += parts[2 * length * block + length + i];
    }
    dgamma[i] = static_cast<float>(by_gamma);
    dbeta[i] = static_cast<float>(by_beta);
  }
}

void softmax_rows(int64_t rows, int64_t length, const float *x, float *y) {
  for (int64_t r = 0; r < rows; ++r) {
    const float *row = x + r * length;
    float *to = y + r * length;
    float lanes[kLanes];
    store(lanes, splat(row[0]));
    int64_t i = 0;
    for (; i + kLanes <= length; i += kLanes)
      for (int j = 0; j < kLanes; ++j) lanes[j] = row[i + j] > lanes[j] ? row[i + j] : lanes[j];
    for (; i < length; ++i) lanes[0] = row[i] > lanes[0] ? row[i] : lanes[0];
    const float most = *std::max_element(lanes, lanes + kLanes);
    for (i = 0; i < length; ++i) to[i] = exp_of(row[i] - most);
    const float by = static_cast<float>(1.0 / total(length, [=](int64_t k) { return to[k]; }));
    for (i = 0; i < length; ++i) to[i] *= by;
  }
}

void softmax_rows_backward(int64_t rows, int64_t length, const float *y, const float *dy, float *dx) {
  for (int64_t r = 0; r < rows; ++r) {
    const float *row = y + r * length, *gradient = dy + r * length;
    float *to = dx + r * length;
    const float inner = static_cast<float>(total(length, [=](int64_t i) { return row[i] * gradient[i]; }));
    for (int64_t i = 0; i < length; ++i) to[i] = row[i] * (gradient[i] - inner);
  }
}

void softmax_forward(int64_t rows, int64_t length, const float *x, float *y) {
  blocks_of_rows(rows, length, [&](int64_t begin, int64_t end, int64_t) {
    softmax_rows(end - begin, length, x + begin * length, y + begin * length);
  });
}

void softmax_backward(int64_t rows, int64_t length, const float *y, const float *dy, float *dx) {
  blocks_of_rows(rows, length, [&](int64_t begin, int64_t end, int64_t) {
    softmax_rows_backward(end - begin, length, y + begin * length, dy + begin * length, dx + begin * length);
  });
}

void top_k(int64_t rows, int64_t length, int64_t k, const float *x, int32_t *indices) {
  blocks_of_rows(rows, length, [&](int64_t begin, int64_t end, int64_t) {
    for (int64_t r = begin; r < end; ++r) {
      const float *row = x + r * length;
      float *best = scratch(1, k);
      int32_t *at = indices + r * k;
      int64_t have = 0;
      // Few are wanted of many: most numbers are turned away by one comparison with the least of them.
      for (int64_t i = 0; i < length; ++i) {
        const float value = row[i];
        const auto before = [](float a, float b) { return a > b || (a != a && b == b); };
        if (have == k && !before(value, best[k - 1])) continue;
        int64_t place = have < k ? have++ : k - 1;
        for (; place > 0 && before(value, best[place - 1]); --place) {
          best[place] = best[place - 1];
          at[place] = at[place - 1];
        }
        best[place] = value;
        at[place] = static_cast<int32_t>(i);
      }
    }
  });
}

void column_sums(int64_t rows, int64_t length, const float *x, float *out) {
  // Columns are shared out, so every sum is one thread's, in the order of the rows.
  constexpr int64_t kColumns = 8 * kLanes;
  parallel((length + kColumns - 1) / kColumns, [&](int64_t task) {
    const int64_t begin = task * kColumns, count = std::min(kColumns, length - begin);
    double sums[kColumns] = {};
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t i = 0; i < count; ++i) sums[i] += x[r * length + begin + i];
    for (int64_t i = 0; i < count; ++i) out[begin + i] = static_cast<float>(sums[i]);
  });
}

void add_to_rows(int64_t rows, int64_t length, const float *addend, float *x) {
  blocks_of_rows(rows, length, [&](int64_t begin, int64_t end, int64_t) {
    for (int64_t r = begin; r < end; ++r)
      for (int64_t i = 0; i < length; ++i) x[r * length + i] += addend[i];
  });
}

}  // namespace ghost
