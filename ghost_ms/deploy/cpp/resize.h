// Antialiased resampling, and the central crop that evaluation uses.
#pragma once

#include <string>

#include "image.h"

namespace ghost_ms {

enum class Interpolation { kBilinear, kBicubic };

/// Resamples by a separable filter whose support grows with the reduction, first along rows, then along columns; the
/// pixels are Pillow's (`Image.resize`).
Image resize(const Image& image, int width, int height, Interpolation interpolation);

/// Resizes until the image covers (width, height) / crop_ratio and cuts the centre out.
Image resize_and_crop(const Image& image, int width, int height, double crop_ratio, Interpolation interpolation);

}  // namespace ghost_ms
