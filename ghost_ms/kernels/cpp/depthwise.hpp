// Depthwise convolution of (B, C * each, H, W) by (C, each, KH, KW), zero padding, and its gradients: every channel of the
// result is made of `each` channels of x, one in most networks.
//
// Channels go in groups: one channel each, or as many as a vector has lanes. Images of x and of y are `x_jump` and
// `y_jump` floats apart.
#pragma once

#include <cstdint>

namespace ghost {

struct Depthwise {
  int64_t batch, channels, height, width, out_height, out_width;
  int64_t kernel_h, kernel_w, stride_h, stride_w, top, left, dilation_h, dilation_w;
  int64_t x_jump, y_jump;
  int64_t each = 1;

  // Of what one channel of the result is made.
  int64_t in() const { return each * height * width; }
  int64_t out() const { return out_height * out_width; }
  int64_t taps() const { return each * kernel_h * kernel_w; }
  int64_t group() const;
};

void depthwise_forward(const Depthwise &d, const float *x, const float *w, const float *bias, float *y, int act = 0);
void depthwise_backward(const Depthwise &d, const float *x, const float *w, const float *dy, float *dx, float *dw,
                        float *dbias);

// The same for `count` channels of one group and all images, by the calling thread; pointers are to the first channel.
void group_forward(const Depthwise &d, int64_t count, const float *x, const float *w, const float *bias, float *y);
// Images of dx are `dx_jump` apart.
void group_backward(const Depthwise &d, int64_t count, const float *x, const float *w, const float *dy, float *dx,
                    int64_t dx_jump, float *dw, float *dbias);

}  // namespace ghost
