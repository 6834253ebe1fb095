// Convolution of (B, I, H, W) by (O, I / groups, KH, KW), zero padding, and its gradients.
#pragma once

#include <cstdint>

namespace ghost {

struct Convolution {
  int64_t batch, inputs, outputs, groups, height, width, out_height, out_width;
  int64_t kernel_h, kernel_w, stride_h, stride_w, top, left, dilation_h, dilation_w;

  int64_t in() const { return height * width; }
  int64_t out() const { return out_height * out_width; }
  // Numbers of x that a group's output is made of.
  int64_t depth() const { return inputs / groups * kernel_h * kernel_w; }
};

void convolution_forward(const Convolution &c, const float *x, const float *w, const float *bias, float *y, int act = 0);
void convolution_input_gradient(const Convolution &c, const float *w, const float *dy, float *dx);
void convolution_weight_gradient(const Convolution &c, const float *x, const float *dy, float *dw);

}  // namespace ghost
