// From an image file to classes and their probabilities.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "input.h"
#include "network.h"
#include "sidecar.h"

namespace ghost_ms {

struct Prediction {
  std::string name;
  std::size_t index;
  double probability;
};

class Classifier {
 public:
  Classifier(const std::string& model_path, int threads, Target target);

  /// The most probable classes of an image, best first, or where the sidecar has thresholds all that reach theirs;
  /// std::runtime_error where it cannot be read or run.
  std::vector<Prediction> classify(const std::string& image_path, std::size_t top);

  /// As `time_calls`, on the image that was classified last.
  std::vector<double> time(int calls) { return time_calls(network_, calls); }

 private:
  std::string name_of(std::size_t index) const;

  Sidecar sidecar_;
  Network network_;
};

}  // namespace ghost_ms
