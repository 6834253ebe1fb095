// Depthwise convolution of maps narrower than a vector: as many channels as it has lanes go together, a pixel to a vector,
// copied into a frame of zeros and back.
#include "depthwise_narrow.hpp"

#include <algorithm>

#include "threads.hpp"
#include "vector.hpp"

namespace ghost {
namespace {

// Up to this many columns of the result a vector holds channels instead of columns.
constexpr int64_t kNarrow = kLanes > 8 ? 10 : kLanes - 1;

struct Frame {
  int64_t height, width;
  explicit Frame(const Depthwise &d)
      : height(std::max((d.out_height - 1) * d.stride_h + (d.kernel_h - 1) * d.dilation_h + 1, d.top + d.height)),
        width(std::max((d.out_width - 1) * d.stride_w + (d.kernel_w - 1) * d.dilation_w + 1, d.left + d.width)) {}
  int64_t size() const { return height * width * kLanes; }
};

void to_lanes(const float *from, int64_t lanes, int64_t height, int64_t width, int64_t top, int64_t left,
              int64_t row_length, float *to) {
  for (int64_t lane = 0; lane < lanes; ++lane)
    for (int64_t row = 0; row < height; ++row) {
      const float *source = from + (lane * height + row) * width;
      float *target = to + ((row + top) * row_length + left) * kLanes + lane;
      for (int64_t c = 0; c < width; ++c) target[c * kLanes] = source[c];
    }
}

void from_lanes(const float *from, int64_t lanes, int64_t height, int64_t width, int64_t top, int64_t left,
                int64_t row_length, float *to) {
  for (int64_t lane = 0; lane < lanes; ++lane)
    for (int64_t row = 0; row < height; ++row) {
      const float *source = from + ((row + top) * row_length + left) * kLanes + lane;
      float *target = to + (lane * height + row) * width;
      for (int64_t c = 0; c < width; ++c) target[c] = source[c * kLanes];
    }
}

void narrow_forward(const Depthwise &d, const Frame &f, const float *frame, const float *w, const Vector bias,
                    float *y) {
  for (int64_t row = 0; row < d.out_height; ++row)
    for (int64_t c = 0; c < d.out_width; ++c) {
      Vector total = bias;
      for (int64_t i = 0; i < d.kernel_h; ++i) {
        const float *from = frame + ((row * d.stride_h + i * d.dilation_h) * f.width + c * d.stride_w) * kLanes;
        for (int64_t j = 0; j < d.kernel_w; ++j)
          total += load(w + (i * d.kernel_w + j) * kLanes) * load(from + j * d.dilation_w * kLanes);
      }
      store(y + (row * d.out_width + c) * kLanes, total);
    }
}

void narrow_taps(const Depthwise &d, const Frame &f, const float *frame, const float *dy, float *dw) {
  for (int64_t i = 0; i < d.kernel_h; ++i)
    for (int64_t j = 0; j < d.kernel_w; ++j) {
      Vector total = load(dw + (i * d.kernel_w + j) * kLanes);
      for (int64_t row = 0; row < d.out_height; ++row) {
        const float *from = frame + ((row * d.stride_h + i * d.dilation_h) * f.width + j * d.dilation_w) * kLanes;
        for (int64_t c = 0; c < d.out_width; ++c)
          total += load(from + c * d.stride_w * kLanes) * load(dy + (row * d.out_width + c) * kLanes);
      }
      store(dw + (i * d.kernel_w + j) * kLanes, total);
    }
}

void narrow_scatter(const Depthwise &d, const Frame &f, const float *w, const float *dy, float *frame) {
  std::fill(frame, frame + f.size(), 0.0f);
  for (int64_t row = 0; row < d.out_height; ++row)
    for (int64_t c = 0; c < d.out_width; ++c) {
      const Vector g = load(dy + (row * d.out_width + c) * kLanes);
      for (int64_t i = 0; i < d.kernel_h; ++i) {
        float *to = frame + ((row * d.stride_h + i * d.dilation_h) * f.width + c * d.stride_w) * kLanes;
        for (int64_t j = 0; j < d.kernel_w; ++j) {
          float *at = to + j * d.dilation_w * kLanes;
          store(at, load(at) + g * load(w + (i * d.kernel_w + j) * kLanes));
        }
      }
    }
}

// Kernels of the group's channels as [tap][lane], the missing ones 0.
void group_weights(const float *w, int64_t lanes, int64_t taps, float *to) {
  std::fill(to, to + taps * kLanes, 0.0f);
  for (int64_t lane = 0; lane < lanes; ++lane)
    for (int64_t t = 0; t < taps; ++t) to[t * kLanes + lane] = w[lane * taps + t];
}

}  // namespace

void narrow_image(const Depthwise &d, int64_t lanes, const float *x, const float *w, const float *bias, float *y) {
  const Frame f(d);
  const int64_t taps = d.taps();
  float *frame = scratch(1, f.size() + (taps + d.out()) * kLanes), *kernel = frame + f.size();
  float *result = kernel + taps * kLanes;
  group_weights(w, lanes, taps, kernel);
  std::fill(frame, frame + f.size(), 0.0f);
  to_lanes(x, lanes, d.height, d.width, d.top, d.left, f.width, frame);
  float add[kLanes] = {};
  for (int64_t lane = 0; bias && lane < lanes; ++lane) add[lane] = bias[lane];
  narrow_forward(d, f, frame, kernel, load(add), result);
  from_lanes(result, lanes, d.out_height, d.out_width, 0, 0, d.out_width, y);
}

void narrow_backward(const Depthwise &d, int64_t lanes, const float *x, const float *w, const float *dy, float *dx,
                     int64_t dx_jump, float *dw, float *dbias) {
  const int64_t taps = d.taps(), out = d.out();
  const Frame f(d);
  float *frame = scratch(1, f.size() + (2 * taps + out) * kLanes), *kernel = frame + f.size();
  float *totals = kernel + taps * kLanes, *gradient = totals + taps * kLanes;
  group_weights(w, lanes, taps, kernel);
  std::fill(totals, totals + taps * kLanes, 0.0f);
  std::fill(gradient, gradient + out * kLanes, 0.0f);
  Vector bias{};
  for (int64_t image = 0; image < d.batch; ++image) {
    std::fill(frame, frame + f.size(), 0.0f);
    to_lanes(x + image * d.x_jump, lanes, d.height, d.width, d.top, d.left, f.width, frame);
    to_lanes(dy + image * d.y_jump, lanes, d.out_height, d.out_width, 0, 0, d.out_width, gradient);
    narrow_taps(d, f, frame, gradient, totals);
    for (int64_t i = 0; dbias && i < out; ++i) bias += load(gradient + i * kLanes);
    narrow_scatter(d, f, kernel, gradient, frame);
    from_lanes(frame, lanes, d.height, d.width, d.top, d.left, f.width, dx + image * dx_jump);
  }
  for (int64_t lane = 0; lane < lanes; ++lane) {
    for (int64_t t = 0; t < taps; ++t) dw[lane * taps + t] = totals[t * kLanes + lane];
    if (dbias) dbias[lane] = bias[lane];
  }
}

int64_t Depthwise::group() const {
  return each == 1 && out_width <= kNarrow && channels >= kLanes / 2 ? kLanes : 1;
}

}  // namespace ghost
