// A channel is a task: its maps are read once for their statistics and once to normalise them, the second time mostly from
// the cache. Sums run in vectors over stretches and in double over those, always in the same order.
#include "norm.hpp"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "activation.hpp"
#include "threads.hpp"
#include "vector.hpp"

namespace ghost {
namespace {

// Summed in floats at most: beyond, rounding would show.
constexpr int64_t kStretch = 1024;

// Calls two(i, count) for stretches of [0, pixels).
template <typename Body>
inline void stretches(int64_t pixels, Body &&body) {
  for (int64_t at = 0; at < pixels; at += kStretch) body(at, std::min(kStretch, pixels - at));
}

// Sums of d and d * d, d = x - shift.
inline void moments(const float *x, int64_t count, float shift, double *first, double *second) {
  Vector ones{}, squares{};
  const Vector by = splat(shift);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const Vector d = load(x + i) - by;
    ones += d;
    squares += d * d;
  }
  float one = sum(ones), square = sum(squares);
  for (; i < count; ++i) {
    const float d = x[i] - shift;
    one += d;
    square += d * d;
  }
  *first += one;
  *second += square;
}

// Not one product and one sum of x: where the mean is far from 0 those would cancel.
struct Affine {
  float mean, scale, beta;
  float operator()(float x) const { return (x - mean) * scale + beta; }
};

template <Act act>
void normalise(const float *x, int64_t count, Affine to, float *y) {
  for (int64_t i = 0; i < count; ++i) y[i] = apply<act>(to(x[i]));
}

}  // namespace

void channel_train(const Channel &s, int act, float epsilon, float keep, const float *x, float gamma, float beta,
                   float *moving_mean, float *moving_variance, float *y, float *mean, float *inverse) {
  const double count = static_cast<double>(s.batch) * s.pixels;
  // Any number near the mean makes the variance precise: that of a first stretch is.
  double first = 0, second = 0;
  moments(x, std::min(kStretch, s.pixels), 0.0f, &first, &second);
  const float shift = static_cast<float>(first / std::min(kStretch, s.pixels));
  first = second = 0;
  for (int64_t b = 0; b < s.batch; ++b)
    stretches(s.pixels, [&](int64_t at, int64_t n) { moments(x + b * s.x_jump + at, n, shift, &first, &second); });
  const double centre = first / count, spread = second / count - centre * centre;
  // Not max(): a NaN has to stay one.
  const double variance = spread < 0 ? 0 : spread;
  *mean = static_cast<float>(shift + centre);
  *inverse = static_cast<float>(1.0 / std::sqrt(variance + epsilon));
  const float unbiased = static_cast<float>(count > 1 ? variance * count / (count - 1) : variance);
  *moving_mean = keep * *moving_mean + (1.0f - keep) * *mean;
  *moving_variance = keep * *moving_variance + (1.0f - keep) * unbiased;
  const Affine to{*mean, gamma * *inverse, beta};
  with_act(act, [&](auto kind) {
    for (int64_t b = 0; b < s.batch; ++b)
      normalise<decltype(kind)::value>(x + b * s.x_jump, s.pixels, to, y + b * s.y_jump);
  });
}

bool batch_norm_train(const Maps &s, int act, float epsilon, float keep, const float *x, const float *gamma,
                      const float *beta, float *moving_mean, float *moving_variance, float *y, float *mean,
                      float *inverse) {
  const int64_t jump = s.channels * s.pixels;
  const Channel one{s.batch, s.pixels, jump, jump, jump};
  parallel(s.channels, [&](int64_t c) {
    channel_train(one, act, epsilon, keep, x + c * s.pixels, gamma[c], beta[c], moving_mean + c, moving_variance + c,
                  y + c * s.pixels, mean + c, inverse + c);
  });
  return known(act);
}

bool batch_norm_fixed(const Maps &s, int act, float epsilon, const float *x, const float *gamma, const float *beta,
                      const float *mean, const float *variance, float *y) {
  return with_act(act, [&](auto kind) {
    parallel(s.batch * s.channels, [&](int64_t plane) {
      const int64_t c = plane % s.channels;
      const float scale = static_cast<float>(gamma[c] / std::sqrt(static_cast<double>(variance[c]) + epsilon));
      normalise<decltype(kind)::value>(x + plane * s.pixels, s.pixels, {mean[c], scale, beta[c]},
                                       y + plane * s.pixels);
    });
  });
}

namespace {

// Sums of the gradient before the activation, and of it times x - mean.
template <Act act>
void gradient_sums(const float *x, const float *dy, int64_t count, Affine to, double *plain, double *centred) {
  constexpr int kSums = 4 * kLanes;
  float ones[kSums] = {}, products[kSums] = {};
  int64_t i = 0;
  for (; i + kSums <= count; i += kSums)
    for (int j = 0; j < kSums; ++j) {
      const float d = slope<act>(to(x[i + j]), dy[i + j]);
      ones[j] += d;
      products[j] += d * (x[i + j] - to.mean);
    }
  for (int j = 0; i + j < count; ++j) {
    const float d = slope<act>(to(x[i + j]), dy[i + j]);
    ones[j] += d;
    products[j] += d * (x[i + j] - to.mean);
  }
  float one = 0, product = 0;
  for (int j = 0; j < kSums; j += kLanes) {
    one += sum(load(ones + j));
    product += sum(load(products + j));
  }
  *plain += one;
  *centred += product;
}

template <Act act>
void gradient(const float *x, const float *dy, int64_t count, Affine to, float by_x, float constant, float *dx) {
  for (int64_t i = 0; i < count; ++i)
    dx[i] = to.scale * slope<act>(to(x[i]), dy[i]) + (by_x * (x[i] - to.mean) + constant);
}

}  // namespace

void channel_backward(const Channel &s, int act, bool through_statistics, const float *x, float gamma, float beta,
                      float mean, float inverse, const float *dy, float *dx, float *dgamma, float *dbeta) {
  const double count = static_cast<double>(s.batch) * s.pixels;
  const Affine to{mean, gamma * inverse, beta};
  with_act(act, [&](auto kind) {
    constexpr Act kAct = decltype(kind)::value;
    double plain = 0, centred = 0;
    for (int64_t b = 0; b < s.batch; ++b)
      stretches(s.pixels, [&](int64_t at, int64_t n) {
        gradient_sums<kAct>(x + b * s.x_jump + at, dy + b * s.y_jump + at, n, to, &plain, &centred);
      });
    *dbeta = static_cast<float>(plain);
    *dgamma = static_cast<float>(centred * inverse);
    // dx = scale * (d - mean of d - xhat * mean of d * xhat), gathered by x - mean.
    const double by_x = through_statistics ? -to.scale * centred * inverse * inverse / count : 0.0;
    const double constant = through_statistics ? -to.scale * plain / count : 0.0;
    for (int64_t b = 0; b < s.batch; ++b)
      gradient<kAct>(x + b * s.x_jump, dy + b * s.y_jump, s.pixels, to, static_cast<float>(by_x),
                     static_cast<float>(constant), dx + b * s.dx_jump);
  });
}

bool batch_norm_backward(const Maps &s, int act, bool through_statistics, const float *x, const float *gamma,
                         const float *beta, const float *mean, const float *inverse, const float *dy, float *dx,
                         float *dgamma, float *dbeta) {
  const int64_t jump = s.channels * s.pixels;
  const Channel one{s.batch, s.pixels, jump, jump, jump};
  parallel(s.channels, [&](int64_t c) {
    channel_backward(one, act, through_statistics, x + c * s.pixels, gamma[c], beta[c], mean[c], inverse[c],
                     dy + c * s.pixels, dx + c * s.pixels, dgamma + c, dbeta + c);
  });
  return known(act);
}

}  // namespace ghost
