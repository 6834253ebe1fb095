// What is printed.
#pragma once

#include <string>
#include <vector>

#include "classifier.h"
#include "detector.h"
#include "segmenter.h"

namespace ghost_ms {

struct Result {
  std::string image;
  std::vector<Prediction> predictions;
  std::vector<double> milliseconds;  ///< of timed calls, ascending; empty where none was timed
};

struct SegmentResult {
  std::string image;
  int width;
  int height;
  std::vector<Share> shares;
  std::vector<double> milliseconds;  ///< as in `Result`
};

struct DetectResult {
  std::string image;
  int width;
  int height;
  std::vector<Object> objects;
  std::vector<double> milliseconds;  ///< as in `Result`
};

/// The text with its control characters, which could steer a terminal, spelled out as \x1b.
std::string printable(const std::string& text);

/// A block per image, a line per class.
std::string as_table(const std::vector<Result>& results);
std::string as_table(const std::vector<SegmentResult>& results);
std::string as_table(const std::vector<DetectResult>& results);

/// The same list as `ghost-ms lite run --json`, with "latency_ms" where calls were timed.
std::string as_json(const std::vector<Result>& results);
std::string as_json(const std::vector<SegmentResult>& results);
std::string as_json(const std::vector<DetectResult>& results);

}  // namespace ghost_ms
