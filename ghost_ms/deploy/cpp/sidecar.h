// The JSON file that `ghost-ms export` writes beside a network: what its input is and what its outputs mean.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "detection.h"
#include "resize.h"

namespace ghost_ms {

enum class Task { kClassification, kSegmentation, kDetection };

struct Sidecar {
  int batch_size;  ///< images of a call; 1 where the file leaves it open
  int width;
  int height;
  int channels;
  std::vector<float> mean;  ///< per channel, for pixels scaled to 0..1
  std::vector<float> std;
  std::vector<std::uint8_t> colour;  ///< the mean as a colour
  double crop_ratio;
  Interpolation interpolation;
  bool orient;  ///< a file's EXIF orientation is honoured; not where the sidecar does not say so
  bool normalised_in_graph;  ///< the network takes bytes and normalises them itself
  bool letterbox;  ///< the whole image lies in the middle of the input, in a frame of the mean colour
  bool gives_probabilities;  ///< it ends in a softmax
  bool gives_labels;  ///< it gives the class of every pixel, not logits
  std::vector<std::string> classes;
  std::vector<double> thresholds;  ///< of each class the probability from which on an image has it; empty for one label
  Limits limits;  ///< of a detector
};

/// Reads NAME.json beside NAME.ms or NAME.mindir, and holds its checksum against that file; std::runtime_error where
/// there is none, it is no such file, or it was written for another one or for another task.
Sidecar read_sidecar(const std::string& model_path, Task task);

}  // namespace ghost_ms
