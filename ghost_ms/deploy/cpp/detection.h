// From decoded boxes and scores to detections; as `ghost_ms/tasks/detection/postprocess.py`.
#pragma once

#include <cstddef>
#include <vector>

namespace ghost_ms {

/// Which decoded boxes are detections.
struct Limits {
  std::vector<float> scores;  ///< of each class, which a score has to lie above
  double iou;  ///< of two boxes of one class that overlap by more than this the weaker is dropped
  std::size_t detections;  ///< most of an image
  std::size_t candidates;  ///< most scores that are looked at: of each class, or of each level
  bool by_class;
  std::vector<std::size_t> levels;  ///< rows of each map
};

/// A detection: left, top, right, bottom in pixels.
struct Detection {
  double box[4];
  float score;
  std::size_t label;
};

/// Of an image, by falling score.
///
/// boxes: (rows, 4), scores: (rows, classes), where rows are the sum of the levels and classes the limits' scores.
std::vector<Detection> detections(const float* boxes, const float* scores, const Limits& limits);

}  // namespace ghost_ms
