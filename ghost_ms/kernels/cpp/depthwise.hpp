// Depthwise convolution of (B, C, H, W) by (C, 1, KH, KW), zero padding, and its gradients.
#pragma once

#include <cstdint>

namespace ghost {

struct Depthwise {
  int64_t batch, channels, height, width, out_height, out_width;
  int64_t kernel_h, kernel_w, stride_h, stride_w, top, left, dilation_h, dilation_w;
};

void depthwise_forward(const Depthwise &d, const float *x, const float *w, const float *bias, float *y);
void depthwise_backward(const Depthwise &d, const float *x, const float *w, const float *dy, float *dx, float *dw,
                        float *dbias);

}  // namespace ghost
