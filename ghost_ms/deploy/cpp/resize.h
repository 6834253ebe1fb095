// Antialiased resampling, and the central crop that evaluation uses.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "image.h"

namespace ghost_ms {

enum class Interpolation { kBilinear, kBicubic };

/// Resamples by a separable filter whose support grows with the reduction, first along rows, then along columns; the
/// pixels are Pillow's (`Image.resize`).
Image resize(const Image& image, int width, int height, Interpolation interpolation);

/// Resizes until the image covers (width, height) / crop_ratio and cuts the centre out.
Image resize_and_crop(const Image& image, int width, int height, double crop_ratio, Interpolation interpolation);

/// Where an image lies in a frame that it was brought into without changing its shape.
struct Frame {
  int width;  ///< that the image has there
  int height;
  int left;
  int top;
};

/// Of an image in the middle of (width, height).
Frame frame_of(const Image& image, int width, int height);

/// The image in its frame, with a colour, a value for each channel, around it.
Image letterbox(const Image& image, int width, int height, const std::vector<std::uint8_t>& colour,
                Interpolation interpolation);

/// Bilinear resampling of floating-point numbers, (height, width) row after row; as Pillow's of its mode F.
std::vector<float> resize_plane(const std::vector<float>& plane, int width, int height, int new_width, int new_height);

/// Resampling of classes by the nearest pixel, as Pillow's.
std::vector<std::uint8_t> resize_nearest(const std::vector<std::uint8_t>& plane, int width, int height, int new_width,
                                         int new_height);

}  // namespace ghost_ms
