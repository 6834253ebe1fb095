// One image of one channel at a time: its rows are first copied with their padding, apart by the remainder of their
// column by the stride, so that every tap reads neighbours, at any stride. Maps narrower than a vector would leave most
// of its lanes idle: those are in depthwise_narrow.cpp.
#include "depthwise.hpp"

#include <algorithm>
#include <type_traits>

#include "activation.hpp"
#include "depthwise_narrow.hpp"
#include "threads.hpp"
#include "vector.hpp"

namespace ghost {
namespace {

// Rows of the padded image: [row][phase][column], where a padded column c has phase c % stride.
struct Padded {
  int64_t rows, phases, columns;
  explicit Padded(const Depthwise &d)
      : rows((d.out_height - 1) * d.stride_h + (d.kernel_h - 1) * d.dilation_h + 1),
        phases(d.stride_w),
        columns(round_up(d.out_width, kLanes) + ((d.kernel_w - 1) * d.dilation_w) / d.stride_w + 1) {}
  int64_t size() const { return rows * phases * columns; }
};

void pad(const Depthwise &d, const Padded &p, const float *x, float *to) {
  for (int64_t row = 0; row < p.rows; ++row) {
    float *line = to + row * p.phases * p.columns;
    const int64_t from = row - d.top;
    std::fill(line, line + p.phases * p.columns, 0.0f);
    if (from < 0 || from >= d.height) continue;
    const float *source = x + from * d.width;
    if (p.phases == 1) {
      const int64_t count = std::min(d.width, p.columns - d.left);
      for (int64_t c = 0; c < count; ++c) line[d.left + c] = source[c];
    } else {
      for (int64_t phase = 0; phase < p.phases; ++phase) {
        // Columns c of the image with (c + left) % stride == phase.
        int64_t c = ((phase - d.left) % p.phases + p.phases) % p.phases;
        float *out = line + phase * p.columns + (c + d.left) / p.phases;
        const int64_t most = p.columns - (c + d.left) / p.phases;
        for (int64_t i = 0; c < d.width && i < most; c += p.phases, ++i) out[i] = source[c];
      }
    }
  }
}

// Where number t of a filter, counted through its channels, rows and columns, lies for output (0, 0) in the padded maps.
inline int64_t tap(const Depthwise &d, const Padded &p, int64_t t) {
  const int64_t column = t % d.kernel_w * d.dilation_w, row = t / d.kernel_w % d.kernel_h * d.dilation_h;
  const int64_t map = t / (d.kernel_w * d.kernel_h);
  return map * p.size() + (row * p.phases + column % p.phases) * p.columns + column / p.phases;
}

// y = sum over taps of w * (padded shifted by the tap).
template <int kTaps>
void rows_forward(const Depthwise &d, const Padded &p, const float *padded, const float *w, float bias,
                  const int64_t *offsets, float *y) {
  const int64_t taps = kTaps ? kTaps : d.taps();
  const int64_t line = d.stride_h * p.phases * p.columns;
  for (int64_t row = 0; row < d.out_height; ++row) {
    const float *from = padded + row * line;
    float *to = y + row * d.out_width;
    for (int64_t c = 0; c < d.out_width; c += kLanes) {
      Vector total = splat(bias);
      for (int64_t t = 0; t < taps; ++t) total += w[t] * load(from + c + offsets[t]);
      if (c + kLanes <= d.out_width) {
        store(to + c, total);
      } else {
        float lane[kLanes];
        store(lane, total);
        for (int64_t i = c; i < d.out_width; ++i) to[i] = lane[i - c];
      }
    }
  }
}

void plane_forward(const Depthwise &d, const Padded &p, const float *padded, const float *w, float bias,
                   const int64_t *offsets, float *y) {
  const int64_t taps = d.taps();
  if (taps == 9) rows_forward<9>(d, p, padded, w, bias, offsets, y);
  else if (taps == 25) rows_forward<25>(d, p, padded, w, bias, offsets, y);
  else if (taps == 5) rows_forward<5>(d, p, padded, w, bias, offsets, y);
  else if (taps == 1) rows_forward<1>(d, p, padded, w, bias, offsets, y);
  else rows_forward<0>(d, p, padded, w, bias, offsets, y);
}

// dw[tap] += sum of dy * (padded shifted by the tap); the rows of dy are padded to whole vectors with zeros.
template <int kTaps>
void some_taps(const Depthwise &d, const Padded &p, const float *padded, const float *dy, int64_t dy_columns,
               const int64_t *offsets, Vector *totals) {
  Vector part[kTaps];
  for (int t = 0; t < kTaps; ++t) part[t] = totals[t];
  const int64_t line = d.stride_h * p.phases * p.columns;
  for (int64_t row = 0; row < d.out_height; ++row) {
    const float *from = padded + row * line, *gradient = dy + row * dy_columns;
    for (int64_t c = 0; c < dy_columns; c += kLanes) {
      const Vector g = load(gradient + c);
#pragma GCC unroll 9
      for (int t = 0; t < kTaps; ++t) part[t] += g * load(from + c + offsets[t]);
    }
  }
  for (int t = 0; t < kTaps; ++t) totals[t] = part[t];
}

void taps_backward(const Depthwise &d, const Padded &p, const float *padded, const float *dy, int64_t dy_columns,
                   const int64_t *offsets, Vector *totals) {
  const int64_t taps = d.taps();
  int64_t t = 0;
  for (; t + 9 <= taps; t += 9) some_taps<9>(d, p, padded, dy, dy_columns, offsets + t, totals + t);
  for (; t + 5 <= taps; t += 5) some_taps<5>(d, p, padded, dy, dy_columns, offsets + t, totals + t);
  for (; t < taps; ++t) some_taps<1>(d, p, padded, dy, dy_columns, offsets + t, totals + t);
}

// The gradient of the padded image, tap by tap where the stride is not 1.
void scatter(const Depthwise &d, const Padded &p, const float *w, const float *dy, int64_t dy_columns,
             const int64_t *offsets, float *padded) {
  std::fill(padded, padded + d.each * p.size(), 0.0f);
  const int64_t taps = d.taps(), line = d.stride_h * p.phases * p.columns;
  for (int64_t row = 0; row < d.out_height; ++row)
    for (int64_t t = 0; t < taps; ++t) {
      float *to = padded + row * line + offsets[t];
      const float *gradient = dy + row * dy_columns;
      for (int64_t c = 0; c < dy_columns; c += kLanes)
        store(to + c, load(to + c) + w[t] * load(gradient + c));
    }
}

void unpad(const Depthwise &d, const Padded &p, const float *padded, float *x) {
  for (int64_t row = 0; row < d.height; ++row) {
    float *to = x + row * d.width;
    const int64_t at = row + d.top;
    if (at >= p.rows) {
      std::fill(to, to + d.width, 0.0f);
      continue;
    }
    for (int64_t phase = 0; phase < p.phases; ++phase) {
      const int64_t first = ((phase - d.left) % p.phases + p.phases) % p.phases, skipped = (first + d.left) / p.phases;
      const float *line = padded + (at * p.phases + phase) * p.columns + skipped;
      // Columns that no tap reached lie beyond the padded row.
      const int64_t count = (d.width - first + p.phases - 1) / p.phases, most = std::min(count, p.columns - skipped);
      for (int64_t i = 0; i < most; ++i) to[first + i * p.phases] = line[i];
      for (int64_t i = std::max<int64_t>(most, 0); i < count; ++i) to[first + i * p.phases] = 0;
    }
  }
}

void widen(const float *from, int64_t rows, int64_t columns, int64_t padded, float *to) {
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t c = 0; c < columns; ++c) to[row * padded + c] = from[row * columns + c];
    for (int64_t c = columns; c < padded; ++c) to[row * padded + c] = 0;
  }
}

// The convolution of dy by the kernel turned round, which is the gradient by x where strides are 1.
Depthwise turned(const Depthwise &d) {
  Depthwise t = d;
  t.height = d.out_height;
  t.width = d.out_width;
  t.out_height = d.height;
  t.out_width = d.width;
  t.each = 1;
  t.top = (d.kernel_h - 1) * d.dilation_h - d.top;
  t.left = (d.kernel_w - 1) * d.dilation_w - d.left;
  return t;
}

inline bool narrow(const Depthwise &d) { return d.group() > 1; }

// One image of one channel.
void wide_image(const Depthwise &d, const Padded &p, const float *x, const float *w, float bias, float *y) {
  const int64_t taps = d.taps();
  int64_t *offsets = reinterpret_cast<int64_t *>(scratch(2, 2 * taps));
  for (int64_t t = 0; t < taps; ++t) offsets[t] = tap(d, p, t);
  float *padded = scratch(1, d.each * p.size() + kLanes);
  for (int64_t map = 0; map < d.each; ++map) pad(d, p, x + map * d.height * d.width, padded + map * p.size());
  plane_forward(d, p, padded, w, bias, offsets, y);
}

void forward_image(const Depthwise &d, int64_t count, const float *x, const float *w, const float *bias, float *y) {
  if (narrow(d)) narrow_image(d, count, x, w, bias, y);
  else wide_image(d, Padded(d), x, w, bias ? bias[0] : 0.0f, y);
}

}  // namespace

void group_forward(const Depthwise &d, int64_t count, const float *x, const float *w, const float *bias, float *y) {
  for (int64_t image = 0; image < d.batch; ++image)
    forward_image(d, count, x + image * d.x_jump, w, bias, y + image * d.y_jump);
}

void depthwise_forward(const Depthwise &d, const float *x, const float *w, const float *bias, float *y, int act) {
  const int64_t each = d.group(), groups = (d.channels + each - 1) / each;
  parallel(d.batch * groups, [&](int64_t task) {
    const int64_t image = task / groups, first = task % groups * each, count = std::min(each, d.channels - first);
    float *to = y + image * d.y_jump + first * d.out();
    forward_image(d, count, x + image * d.x_jump + first * d.in(), w + first * d.taps(), bias ? bias + first : nullptr,
                  to);
    if (act)
      with_act(act, [&](auto kind) {
        for (int64_t i = 0; i < count * d.out(); ++i) to[i] = apply<decltype(kind)::value>(to[i]);
      });
  });
}

namespace {

void wide_backward(const Depthwise &d, const float *x, const float *w, const float *dy, float *dx, int64_t dx_jump,
                   float *dw, float *dbias) {
  const int64_t taps = d.taps(), filter = d.kernel_h * d.kernel_w, in = d.height * d.width;
  const int64_t columns = round_up(d.out_width, kLanes);
  const Padded p(d);
  // At stride 1 the gradient by x is a convolution of dy, by the kernel turned round.
  const bool plain = d.stride_h == 1 && d.stride_w == 1 && (d.kernel_h - 1) * d.dilation_h >= d.top &&
                     (d.kernel_w - 1) * d.dilation_w >= d.left;
  const Depthwise back = turned(d);
  const Padded around(back);
  int64_t *offsets = reinterpret_cast<int64_t *>(scratch(2, 2 * (taps + filter))), *turned_offsets = offsets + taps;
  float *kernel = scratch(3, taps);
  for (int64_t t = 0; t < taps; ++t) {
    offsets[t] = tap(d, p, t);
    kernel[t] = w[t / filter * filter + filter - 1 - t % filter];
  }
  for (int64_t t = 0; plain && t < filter; ++t) turned_offsets[t] = tap(back, around, t);
  float *padded = scratch(1, std::max(d.each * p.size(), plain ? around.size() : 0) + kLanes);
  float *gradient = scratch(4, d.out_height * columns);
  Vector *totals = reinterpret_cast<Vector *>(scratch(5, taps * kLanes)), bias{};
  for (int64_t t = 0; t < taps; ++t) totals[t] = Vector{};
  for (int64_t image = 0; image < d.batch; ++image) {
    const float *from = dy + image * d.y_jump, *maps = x + image * d.x_jump;
    float *to = dx + image * dx_jump;
    widen(from, d.out_height, d.out_width, columns, gradient);
    for (int64_t map = 0; map < d.each; ++map) pad(d, p, maps + map * in, padded + map * p.size());
    taps_backward(d, p, padded, gradient, columns, offsets, totals);
    if (dbias)
      for (int64_t i = 0; i < d.out_height * columns; i += kLanes) bias += load(gradient + i);
    if (plain) {
      pad(back, around, from, padded);
      for (int64_t map = 0; map < d.each; ++map)
        plane_forward(back, around, padded, kernel + map * filter, 0.0f, turned_offsets, to + map * in);
    } else {
      scatter(d, p, w, gradient, columns, offsets, padded);
      for (int64_t map = 0; map < d.each; ++map) unpad(d, p, padded + map * p.size(), to + map * in);
    }
  }
  for (int64_t t = 0; t < taps; ++t) dw[t] = sum(totals[t]);
  if (dbias) *dbias = sum(bias);
}

}  // namespace

void group_backward(const Depthwise &d, int64_t count, const float *x, const float *w, const float *dy, float *dx,
                    int64_t dx_jump, float *dw, float *dbias) {
  if (narrow(d)) narrow_backward(d, count, x, w, dy, dx, dx_jump, dw, dbias);
  else wide_backward(d, x, w, dy, dx, dx_jump, dw, dbias);
}

void depthwise_backward(const Depthwise &d, const float *x, const float *w, const float *dy, float *dx, float *dw,
                        float *dbias) {
  const int64_t each = d.group(), groups = (d.channels + each - 1) / each;
  parallel(groups, [&](int64_t task) {
    const int64_t first = task * each, count = std::min(each, d.channels - first);
    group_backward(d, count, x + first * d.in(), w + first * d.taps(), dy + first * d.out(), dx + first * d.in(),
                   d.x_jump, dw + first * d.taps(), dbias ? dbias + first : nullptr);
  });
}

}  // namespace ghost
