#include "input.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace ghost_ms {
namespace {

constexpr int kWarmUpCalls = 5;

/// (H, W, C) to (C, H, W), each value changed by `change(value, channel)`.
template <typename T, typename Change>
std::vector<T> channels_first(const Image& image, Change change) {
  const auto channels = static_cast<std::size_t>(image.channels);
  std::vector<T> planes;
  planes.reserve(image.pixels.size());
  for (std::size_t channel = 0; channel < channels; ++channel) {
    for (auto index = channel; index < image.pixels.size(); index += channels) {
      planes.push_back(change(image.pixels[index], channel));
    }
  }
  return planes;
}

/// The same values once for each image of a call.
template <typename T>
std::vector<T> repeated(const std::vector<T>& values, int times) {
  std::vector<T> all;
  all.reserve(values.size() * static_cast<std::size_t>(times));
  for (int copy = 0; copy < times; ++copy) all.insert(all.end(), values.begin(), values.end());
  return all;
}

}  // namespace

void set_image(Network& network, const Sidecar& sidecar, const Image& image) {
  const Shape channels_last{sidecar.batch_size, image.height, image.width, image.channels};
  const Shape planes{sidecar.batch_size, image.channels, image.height, image.width};
  if (!sidecar.normalised_in_graph) {
    const auto normalise = [&sidecar](std::uint8_t value, std::size_t channel) {
      return (static_cast<float>(value) / 255.0F - sidecar.mean[channel]) / sidecar.std[channel];
    };
    network.set_input(repeated(channels_first<float>(image, normalise), sidecar.batch_size), planes);
    return;
  }
  // The converter drops a transposition at the input: such a file takes bytes with their channels first.
  const auto shape = network.input_shape();
  if (shape != channels_last && shape.size() == planes.size() &&
      std::equal(shape.begin() + 1, shape.end(), planes.begin() + 1)) {
    const auto keep = [](std::uint8_t value, std::size_t) { return value; };
    network.set_input(repeated(channels_first<std::uint8_t>(image, keep), sidecar.batch_size), planes);
  } else {
    network.set_input(repeated(image.pixels, sidecar.batch_size), channels_last);
  }
}

std::vector<double> time_calls(Network& network, int calls) {
  using Clock = std::chrono::steady_clock;
  for (int call = 0; call < kWarmUpCalls; ++call) network.predict();
  std::vector<double> milliseconds;
  for (int call = 0; call < calls; ++call) {
    const auto start = Clock::now();
    network.predict();
    milliseconds.push_back(std::chrono::duration<double, std::milli>(Clock::now() - start).count());
  }
  std::sort(milliseconds.begin(), milliseconds.end());
  return milliseconds;
}

}  // namespace ghost_ms
