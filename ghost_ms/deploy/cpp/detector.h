// From an image file to the objects in it.
#pragma once

#include <string>
#include <vector>

#include "detection.h"
#include "input.h"
#include "network.h"
#include "sidecar.h"

namespace ghost_ms {

/// An object: its class, and its box in pixels of the image, upright.
struct Object {
  std::string name;
  std::size_t index;
  double score;
  double box[4];
};

/// The objects of an image by falling score, and the image itself, upright.
struct Detected {
  Image image;
  std::vector<Object> objects;
};

class Detector {
 public:
  Detector(const std::string& model_path, int threads, Target target);

  /// At most `most` objects, 0 for as many as the sidecar says; std::runtime_error where the image cannot be read or
  /// the network gives something else than its sidecar says.
  Detected detect(const std::string& image_path, int most = 0);

  /// As `time_calls`, on the image that was looked at last.
  std::vector<double> time(int calls) { return time_calls(network_, calls); }

 private:
  Sidecar sidecar_;
  Network network_;
};

}  // namespace ghost_ms
