#include "classifier.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <stdexcept>

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

/// Of each value less the largest one, which none of them then overflows.
std::vector<double> exponentials(std::vector<double> values) {
  const double largest = *std::max_element(values.begin(), values.end());
  for (auto& value : values) value = std::exp(value - largest);
  return values;
}

std::vector<double> scaled_to_one(std::vector<double> values) {
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  if (!(sum > 0.0)) throw std::runtime_error("the network gives numbers that are no probabilities");
  for (auto& value : values) value /= sum;
  return values;
}

/// Of each value apart, for classes that do not exclude each other.
std::vector<double> logistic(std::vector<double> values) {
  for (auto& value : values) {
    const double small = std::exp(-std::abs(value));
    value = (value >= 0.0 ? 1.0 : small) / (1.0 + small);
  }
  return values;
}

}  // namespace

Classifier::Classifier(const std::string& model_path, int threads, Target target)
    : sidecar_(read_sidecar(model_path)), network_(model_path, threads, target) {}

std::vector<Prediction> Classifier::classify(const std::string& image_path, std::size_t top) {
  load(resize_and_crop(load_image(image_path, sidecar_.channels, sidecar_.orient), sidecar_.width, sidecar_.height,
                       sidecar_.crop_ratio, sidecar_.interpolation));
  network_.predict();
  const auto outputs = network_.output();
  // Every image of the call was the same one: the first one's outputs are taken.
  const auto count = outputs.size() / static_cast<std::size_t>(sidecar_.batch_size);
  if (count == 0 || count < sidecar_.classes.size()) {
    throw std::runtime_error("the network gives " + std::to_string(count) + " outputs, its sidecar names " +
                             std::to_string(sidecar_.classes.size()) + " classes: they do not belong together");
  }
  const std::vector<double> first(outputs.begin(), outputs.begin() + static_cast<std::ptrdiff_t>(count));
  if (!std::all_of(first.begin(), first.end(), [](double value) { return std::isfinite(value); })) {
    throw std::runtime_error("for '" + image_path + "' the network gives outputs that are no finite numbers: its " +
                             "weights are damaged, or numbers overflow in its precision");
  }
  const bool several = !sidecar_.thresholds.empty();
  const auto probabilities =
      several ? logistic(first) : scaled_to_one(sidecar_.gives_probabilities ? first : exponentials(first));

  std::vector<std::size_t> order(several ? sidecar_.classes.size() : count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return probabilities[a] > probabilities[b]; });
  if (several) {
    order.erase(std::remove_if(order.begin(), order.end(),
                               [&](std::size_t index) { return probabilities[index] < sidecar_.thresholds[index]; }),
                order.end());
  } else {
    order.resize(std::min(top, count));
  }
  std::vector<Prediction> predictions;
  for (const auto index : order) predictions.push_back({name_of(index), index, probabilities[index]});
  return predictions;
}

std::vector<double> Classifier::time(int calls) {
  using Clock = std::chrono::steady_clock;
  for (int call = 0; call < kWarmUpCalls; ++call) network_.predict();
  std::vector<double> milliseconds;
  for (int call = 0; call < calls; ++call) {
    const auto start = Clock::now();
    network_.predict();
    milliseconds.push_back(std::chrono::duration<double, std::milli>(Clock::now() - start).count());
  }
  std::sort(milliseconds.begin(), milliseconds.end());
  return milliseconds;
}

void Classifier::load(const Image& image) {
  const Shape channels_last{sidecar_.batch_size, image.height, image.width, image.channels};
  const Shape planes{sidecar_.batch_size, image.channels, image.height, image.width};
  if (!sidecar_.normalised_in_graph) {
    const auto normalise = [this](std::uint8_t value, std::size_t channel) {
      return (static_cast<float>(value) / 255.0F - sidecar_.mean[channel]) / sidecar_.std[channel];
    };
    network_.set_input(repeated(channels_first<float>(image, normalise), sidecar_.batch_size), planes);
    return;
  }
  // The converter drops a transposition at the input: such a file takes bytes with their channels first.
  const auto shape = network_.input_shape();
  if (shape != channels_last && shape.size() == planes.size() &&
      std::equal(shape.begin() + 1, shape.end(), planes.begin() + 1)) {
    const auto keep = [](std::uint8_t value, std::size_t) { return value; };
    network_.set_input(repeated(channels_first<std::uint8_t>(image, keep), sidecar_.batch_size), planes);
  } else {
    network_.set_input(repeated(image.pixels, sidecar_.batch_size), channels_last);
  }
}

std::string Classifier::name_of(std::size_t index) const {
  return index < sidecar_.classes.size() ? sidecar_.classes[index] : "class " + std::to_string(index);
}

}  // namespace ghost_ms
