#include "resize.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace ghost_ms {
namespace {

/// Weights are fixed-point numbers with this many bits after the point: 8 bits of a pixel, 2 for sign and overshoot
/// and these fill 32.
constexpr int kFractionBits = 22;

double triangle(double x) { return std::max(0.0, 1.0 - std::abs(x)); }

/// Cubic convolution (Keys, 1981) with a = -1/2.
double cubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
  if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
  return 0.0;
}

/// What one output position is made of: source positions from `first` on.
template <typename Weight>
struct Taps {
  int first = 0;
  std::vector<Weight> weights;
};

std::vector<Taps<double>> taps_of(int source, int target, Interpolation interpolation) {
  const auto filter = interpolation == Interpolation::kBilinear ? triangle : cubic;
  const double scale = static_cast<double>(source) / target;
  // The filter is stretched where the image shrinks: that is the antialiasing.
  const double stretch = std::max(scale, 1.0);
  const double support = (interpolation == Interpolation::kBilinear ? 1.0 : 2.0) * stretch;
  std::vector<Taps<double>> all(static_cast<std::size_t>(target));
  for (int index = 0; index < target; ++index) {
    const double centre = (index + 0.5) * scale;
    const int first = std::max(0, static_cast<int>(centre - support + 0.5));
    const int end = std::min(source, static_cast<int>(centre + support + 0.5));
    std::vector<double> weights;
    double sum = 0.0;
    for (int position = first; position < end; ++position) {
      weights.push_back(filter((position - centre + 0.5) / stretch));
      sum += weights.back();
    }
    for (auto& weight : weights) weight /= sum;
    all[static_cast<std::size_t>(index)] = {first, std::move(weights)};
  }
  return all;
}

std::vector<Taps<std::int32_t>> fixed_taps_of(int source, int target, Interpolation interpolation) {
  std::vector<Taps<std::int32_t>> fixed;
  for (const auto& [first, weights] : taps_of(source, target, interpolation)) {
    fixed.push_back({first, {}});
    for (const double weight : weights) {
      fixed.back().weights.push_back(static_cast<std::int32_t>(std::round(weight * (1 << kFractionBits))));
    }
  }
  return fixed;
}

/// The weighted sum of bytes that lie `step` apart, rounded and cut to 0..255.
std::uint8_t weighted(const std::uint8_t* source, std::size_t step, const std::vector<std::int32_t>& weights) {
  std::int32_t sum = 1 << (kFractionBits - 1);
  for (const auto weight : weights) {
    sum += weight * *source;
    source += step;
  }
  return static_cast<std::uint8_t>(std::clamp(sum >> kFractionBits, 0, 255));
}

Image resize_rows(const Image& image, int width, Interpolation interpolation) {
  Image result(width, image.height, image.channels);
  const auto taps = fixed_taps_of(image.width, width, interpolation);
  const auto channels = static_cast<std::size_t>(image.channels);
  for (int y = 0; y < image.height; ++y) {
    std::uint8_t* target = result.row(y);
    for (const auto& [first, weights] : taps) {
      const std::uint8_t* source = image.row(y) + channels * static_cast<std::size_t>(first);
      for (std::size_t channel = 0; channel < channels; ++channel) {
        *target++ = weighted(source + channel, channels, weights);
      }
    }
  }
  return result;
}

Image resize_columns(const Image& image, int height, Interpolation interpolation) {
  Image result(image.width, height, image.channels);
  const auto taps = fixed_taps_of(image.height, height, interpolation);
  for (int y = 0; y < height; ++y) {
    const auto& [first, weights] = taps[static_cast<std::size_t>(y)];
    std::uint8_t* target = result.row(y);
    for (std::size_t x = 0; x < image.row_bytes(); ++x) {
      target[x] = weighted(image.row(first) + x, image.row_bytes(), weights);
    }
  }
  return result;
}

/// Half of a difference as Python's `round` has it: halves go to the even neighbour.
int half(int difference) { return static_cast<int>(std::nearbyint(difference / 2.0)); }

Image crop_centre(const Image& image, int width, int height) {
  Image result(width, height, image.channels);
  const auto left = static_cast<std::size_t>(half(image.width - width) * image.channels);
  const int top = half(image.height - height);
  for (int y = 0; y < height; ++y) std::copy_n(image.row(top + y) + left, result.row_bytes(), result.row(y));
  return result;
}

/// The columns or rows that the nearest pixels lie in; positions are added up, as Pillow does.
std::vector<std::size_t> nearest(int source, int target) {
  const double step = static_cast<double>(source) / target;
  std::vector<std::size_t> all;
  double position = step * 0.5;
  for (int index = 0; index < target; ++index, position += step) {
    all.push_back(static_cast<std::size_t>(std::min(source - 1, static_cast<int>(position))));
  }
  return all;
}

/// The size that covers (width, height): the side that binds becomes exact, the other one is rounded down.
std::pair<int, int> covering(const Image& image, int width, int height) {
  const auto w = static_cast<std::int64_t>(image.width), h = static_cast<std::int64_t>(image.height);
  if (w * height >= h * width) return {static_cast<int>(height * w / h), height};
  return {width, static_cast<int>(width * h / w)};
}

}  // namespace

Image resize(const Image& image, int width, int height, Interpolation interpolation) {
  Image result = image.width == width ? image : resize_rows(image, width, interpolation);
  return image.height == height ? result : resize_columns(result, height, interpolation);
}

Image resize_and_crop(const Image& image, int width, int height, double crop_ratio, Interpolation interpolation) {
  const auto [covering_width, covering_height] =
      covering(image, static_cast<int>(width / crop_ratio), static_cast<int>(height / crop_ratio));
  return crop_centre(resize(image, covering_width, covering_height, interpolation), width, height);
}

Frame frame_of(const Image& image, int width, int height) {
  const double scale = std::min(static_cast<double>(width) / image.width, static_cast<double>(height) / image.height);
  // Halves go to the even neighbour, as Python's `round` has it.
  const int inner_width = std::max(1, static_cast<int>(std::nearbyint(image.width * scale)));
  const int inner_height = std::max(1, static_cast<int>(std::nearbyint(image.height * scale)));
  return {inner_width, inner_height, (width - inner_width) / 2, (height - inner_height) / 2};
}

Image letterbox(const Image& image, int width, int height, const std::vector<std::uint8_t>& colour,
                Interpolation interpolation) {
  const Frame frame = frame_of(image, width, height);
  const Image inner = resize(image, frame.width, frame.height, interpolation);
  Image result(width, height, image.channels);
  for (std::size_t index = 0; index < result.pixels.size(); ++index) {
    result.pixels[index] = colour[index % colour.size()];
  }
  const auto left = static_cast<std::size_t>(frame.left * image.channels);
  for (int y = 0; y < inner.height; ++y) {
    std::copy_n(inner.row(y), inner.row_bytes(), result.row(frame.top + y) + left);
  }
  return result;
}

std::vector<float> resize_plane(const std::vector<float>& plane, int width, int height, int new_width, int new_height) {
  const auto columns = taps_of(width, new_width, Interpolation::kBilinear);
  const auto rows = taps_of(height, new_height, Interpolation::kBilinear);
  const auto across = static_cast<std::size_t>(new_width);
  std::vector<float> wide;
  wide.reserve(across * static_cast<std::size_t>(height));
  for (int y = 0; y < height; ++y) {
    const float* row = plane.data() + static_cast<std::size_t>(width) * static_cast<std::size_t>(y);
    for (const auto& [first, weights] : columns) {
      double sum = 0.0;
      for (std::size_t tap = 0; tap < weights.size(); ++tap) {
        sum += static_cast<double>(row[static_cast<std::size_t>(first) + tap]) * weights[tap];
      }
      wide.push_back(static_cast<float>(sum));
    }
  }
  std::vector<float> result;
  result.reserve(across * static_cast<std::size_t>(new_height));
  for (const auto& [first, weights] : rows) {
    for (std::size_t x = 0; x < across; ++x) {
      double sum = 0.0;
      for (std::size_t tap = 0; tap < weights.size(); ++tap) {
        sum += static_cast<double>(wide[(static_cast<std::size_t>(first) + tap) * across + x]) * weights[tap];
      }
      result.push_back(static_cast<float>(sum));
    }
  }
  return result;
}

std::vector<std::uint8_t> resize_nearest(const std::vector<std::uint8_t>& plane, int width, int height, int new_width,
                                         int new_height) {
  const auto columns = nearest(width, new_width), rows = nearest(height, new_height);
  std::vector<std::uint8_t> result;
  result.reserve(columns.size() * rows.size());
  for (const auto row : rows) {
    for (const auto column : columns) result.push_back(plane[row * static_cast<std::size_t>(width) + column]);
  }
  return result;
}

}  // namespace ghost_ms
