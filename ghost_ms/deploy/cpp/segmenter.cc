#include "segmenter.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>

namespace ghost_ms {

Segmenter::Segmenter(const std::string& model_path, int threads, Target target)
    : sidecar_(read_sidecar(model_path, Task::kSegmentation)), network_(model_path, threads, target) {}

Segmented Segmenter::segment(const std::string& image_path) {
  Segmented found;
  found.image = load_image(image_path, sidecar_.channels, sidecar_.orient);
  set_image(network_, sidecar_,
            letterbox(found.image, sidecar_.width, sidecar_.height, sidecar_.colour, sidecar_.interpolation));
  network_.predict();
  found.labels = sidecar_.gives_labels ? from_labels(found.image) : from_logits(found.image, image_path);
  return found;
}

std::vector<std::uint8_t> Segmenter::from_labels(const Image& image) const {
  const auto outputs = network_.labels();
  const auto pixels = static_cast<std::size_t>(sidecar_.width) * static_cast<std::size_t>(sidecar_.height);
  if (outputs.size() != pixels * static_cast<std::size_t>(sidecar_.batch_size)) fail_on_size(outputs.size());
  std::vector<std::uint8_t> classes(pixels);
  std::transform(outputs.begin(), outputs.begin() + static_cast<std::ptrdiff_t>(pixels), classes.begin(),
                 [](std::int32_t label) { return static_cast<std::uint8_t>(label); });
  const Frame frame = frame_of(image, sidecar_.width, sidecar_.height);
  return resize_nearest(of_image(classes, frame, 0), frame.width, frame.height, image.width, image.height);
}

std::vector<std::uint8_t> Segmenter::from_logits(const Image& image, const std::string& image_path) const {
  const auto outputs = network_.output();
  const auto pixels = static_cast<std::size_t>(sidecar_.width) * static_cast<std::size_t>(sidecar_.height);
  const auto count = outputs.size() / (pixels * static_cast<std::size_t>(sidecar_.batch_size));
  if (count < sidecar_.classes.size() || count == 0 || count > 256 ||
      outputs.size() != count * pixels * static_cast<std::size_t>(sidecar_.batch_size)) {
    fail_on_size(outputs.size());
  }
  const Frame frame = frame_of(image, sidecar_.width, sidecar_.height);
  std::vector<float> best;
  std::vector<std::uint8_t> labels(static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height));
  // Class by class: all of them at a photograph's size could be gigabytes.
  for (std::size_t place = 0; place < count; ++place) {
    const auto part = of_image(outputs, frame, place * pixels);
    if (!std::all_of(part.begin(), part.end(), [](float value) { return std::isfinite(value); })) {
      throw std::runtime_error("for '" + image_path + "' the network gives outputs that are no finite numbers: its " +
                               "weights are damaged, or numbers overflow in its precision");
    }
    auto enlarged = resize_plane(part, frame.width, frame.height, image.width, image.height);
    if (place == 0) {
      best = std::move(enlarged);
      continue;
    }
    for (std::size_t index = 0; index < best.size(); ++index) {
      if (enlarged[index] > best[index]) {
        best[index] = enlarged[index];
        labels[index] = static_cast<std::uint8_t>(place);
      }
    }
  }
  return labels;
}

template <typename T>
std::vector<T> Segmenter::of_image(const std::vector<T>& plane, const Frame& frame, std::size_t offset) const {
  std::vector<T> part;
  part.reserve(static_cast<std::size_t>(frame.width) * static_cast<std::size_t>(frame.height));
  for (int y = frame.top; y < frame.top + frame.height; ++y) {
    const auto row = plane.begin() + static_cast<std::ptrdiff_t>(offset) +
                     static_cast<std::ptrdiff_t>(y) * sidecar_.width + frame.left;
    part.insert(part.end(), row, row + frame.width);
  }
  return part;
}

std::vector<Share> Segmenter::shares(const std::vector<std::uint8_t>& labels) const {
  std::vector<std::size_t> counts(256), order(256);
  for (const auto label : labels) ++counts[label];
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return counts[a] > counts[b]; });
  std::vector<Share> shares;
  for (const auto index : order) {
    if (counts[index] == 0) break;
    const auto name = index < sidecar_.classes.size() ? sidecar_.classes[index] : "class " + std::to_string(index);
    shares.push_back({name, index, static_cast<double>(counts[index]) / static_cast<double>(labels.size())});
  }
  return shares;
}

void Segmenter::fail_on_size(std::size_t count) const {
  throw std::runtime_error("the network gives " + std::to_string(count) + " outputs, its sidecar says " +
                           std::to_string(sidecar_.classes.size()) + " classes at " + std::to_string(sidecar_.width) +
                           "x" + std::to_string(sidecar_.height) + " pixels: they do not belong together");
}

}  // namespace ghost_ms
