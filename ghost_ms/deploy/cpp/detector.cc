#include "detector.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>

namespace ghost_ms {

Detector::Detector(const std::string& model_path, int threads, Target target)
    : sidecar_(read_sidecar(model_path, Task::kDetection)), network_(model_path, threads, target) {}

Detected Detector::detect(const std::string& image_path, int most) {
  Detected result;
  result.image = load_image(image_path, sidecar_.channels, sidecar_.orient);
  set_image(network_, sidecar_,
            letterbox(result.image, sidecar_.width, sidecar_.height, sidecar_.colour, sidecar_.interpolation));
  network_.predict();
  const auto boxes = network_.output(0), scores = network_.output(1);
  const auto rows = std::accumulate(sidecar_.limits.levels.begin(), sidecar_.limits.levels.end(), std::size_t{0}) *
                    static_cast<std::size_t>(sidecar_.batch_size);
  if (boxes.size() != 4 * rows || scores.size() != sidecar_.classes.size() * rows) {
    throw std::runtime_error("the network gives " + std::to_string(boxes.size()) + " and " +
                             std::to_string(scores.size()) + " outputs, its sidecar says boxes and scores of " +
                             std::to_string(sidecar_.classes.size()) + " classes in " + std::to_string(rows) +
                             " rows: they do not belong together");
  }
  const auto finite = [](float value) { return std::isfinite(value); };
  if (!std::all_of(boxes.begin(), boxes.end(), finite) || !std::all_of(scores.begin(), scores.end(), finite)) {
    throw std::runtime_error("for '" + image_path + "' the network gives outputs that are no finite numbers: its " +
                             "weights are damaged, or numbers overflow in its precision");
  }
  auto limits = sidecar_.limits;
  if (most > 0) limits.detections = std::min(limits.detections, static_cast<std::size_t>(most));
  const Frame frame = frame_of(result.image, sidecar_.width, sidecar_.height);
  const double shift[2] = {static_cast<double>(frame.left), static_cast<double>(frame.top)};
  const double size[2] = {static_cast<double>(result.image.width), static_cast<double>(result.image.height)};
  const double inner[2] = {static_cast<double>(frame.width), static_cast<double>(frame.height)};
  for (const auto& found : detections(boxes.data(), scores.data(), limits)) {
    Object object{sidecar_.classes[found.label], found.label, static_cast<double>(found.score), {}};
    for (int side = 0; side < 4; ++side) {
      const int axis = side % 2;
      const double moved = (found.box[side] - shift[axis]) * (size[axis] / inner[axis]);
      object.box[side] = static_cast<double>(static_cast<float>(std::clamp(moved, 0.0, size[axis])));
    }
    // What lies in the border around the image alone is no object of it.
    if (object.box[2] > object.box[0] && object.box[3] > object.box[1]) result.objects.push_back(object);
  }
  return result;
}

}  // namespace ghost_ms
