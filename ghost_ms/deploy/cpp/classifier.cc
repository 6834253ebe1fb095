#include "classifier.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>

namespace ghost_ms {
namespace {

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
    : sidecar_(read_sidecar(model_path, Task::kClassification)), network_(model_path, threads, target) {}

std::vector<Prediction> Classifier::classify(const std::string& image_path, std::size_t top) {
  const Image image = load_image(image_path, sidecar_.channels, sidecar_.orient);
  set_image(network_, sidecar_, resize_and_crop(image, sidecar_.width, sidecar_.height, sidecar_.crop_ratio,
                                                sidecar_.interpolation));
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

std::string Classifier::name_of(std::size_t index) const {
  return index < sidecar_.classes.size() ? sidecar_.classes[index] : "class " + std::to_string(index);
}

}  // namespace ghost_ms
