// From an image file to the class of each of its pixels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "input.h"
#include "network.h"
#include "sidecar.h"

namespace ghost_ms {

/// The classes of an image's pixels, row after row, and the image itself, upright.
struct Segmented {
  Image image;
  std::vector<std::uint8_t> labels;
};

/// A class that occurs, and its share of the pixels.
struct Share {
  std::string name;
  std::size_t index;
  double share;
};

class Segmenter {
 public:
  Segmenter(const std::string& model_path, int threads, Target target);

  /// std::runtime_error where the image cannot be read or the network gives something else than its sidecar says.
  Segmented segment(const std::string& image_path);

  /// The classes that occur, the largest share first.
  std::vector<Share> shares(const std::vector<std::uint8_t>& labels) const;

  /// As `time_calls`, on the image that was segmented last.
  std::vector<double> time(int calls) { return time_calls(network_, calls); }

 private:
  std::vector<std::uint8_t> from_labels(const Image& image) const;
  std::vector<std::uint8_t> from_logits(const Image& image, const std::string& image_path) const;
  template <typename T>
  std::vector<T> of_image(const std::vector<T>& plane, const Frame& frame, std::size_t offset) const;
  [[noreturn]] void fail_on_size(std::size_t count) const;

  Sidecar sidecar_;
  Network network_;
};

}  // namespace ghost_ms
