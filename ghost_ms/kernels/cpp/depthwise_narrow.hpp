// The two halves of depthwise.cpp that take a group of lanes at a time; pointers are to its first channel.
#pragma once

#include "depthwise.hpp"

namespace ghost {

// One image.
void narrow_image(const Depthwise &d, int64_t lanes, const float *x, const float *w, const float *bias, float *y);
// All images, as `group_backward`.
void narrow_backward(const Depthwise &d, int64_t lanes, const float *x, const float *w, const float *dy, float *dx,
                     int64_t dx_jump, float *dw, float *dbias);

}  // namespace ghost
