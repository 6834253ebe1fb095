// From an image file to classes and their probabilities.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

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

  /// Milliseconds of each of some calls on the image that was classified last, ascending; reading and resizing the
  /// image are no part of a call.
  std::vector<double> time(int calls);

 private:
  void load(const Image& image);
  std::string name_of(std::size_t index) const;

  Sidecar sidecar_;
  Network network_;
};

}  // namespace ghost_ms
