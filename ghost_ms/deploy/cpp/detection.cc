#include "detection.h"

#include <algorithm>
#include <numeric>

namespace ghost_ms {
namespace {

/// The strongest first; of equal scores the earlier row.
void sort_by_score(std::vector<std::size_t>& places, const float* scores) {
  std::sort(places.begin(), places.end(), [scores](std::size_t a, std::size_t b) {
    return scores[a] != scores[b] ? scores[a] > scores[b] : a < b;
  });
}

/// Places of the scores above their threshold, and of these the best of every class or level.
std::vector<std::size_t> candidates_of(const float* scores, const Limits& limits) {
  const auto classes = limits.scores.size();
  std::vector<std::vector<std::size_t>> groups(limits.by_class ? classes : limits.levels.size());
  std::size_t row = 0;
  for (std::size_t level = 0; level < limits.levels.size(); ++level) {
    for (const auto end = row + limits.levels[level]; row < end; ++row) {
      for (std::size_t label = 0; label < classes; ++label) {
        const auto place = row * classes + label;
        if (scores[place] > limits.scores[label]) groups[limits.by_class ? label : level].push_back(place);
      }
    }
  }
  std::vector<std::size_t> found;
  for (auto& group : groups) {
    if (group.size() > limits.candidates) {
      sort_by_score(group, scores);
      group.resize(limits.candidates);
    }
    found.insert(found.end(), group.begin(), group.end());
  }
  sort_by_score(found, scores);
  return found;
}

bool covers(const Detection& one, const Detection& other, double iou) {
  const double width = std::min(one.box[2], other.box[2]) - std::max(one.box[0], other.box[0]);
  const double height = std::min(one.box[3], other.box[3]) - std::max(one.box[1], other.box[1]);
  const double shared = std::max(width, 0.0) * std::max(height, 0.0);
  const auto area = [](const Detection& each) {
    return (each.box[2] - each.box[0]) * (each.box[3] - each.box[1]);
  };
  return shared > iou * (area(one) + area(other) - shared);
}

}  // namespace

std::vector<Detection> detections(const float* boxes, const float* scores, const Limits& limits) {
  const auto classes = limits.scores.size();
  std::vector<Detection> kept;
  for (const auto place : candidates_of(scores, limits)) {
    if (kept.size() == limits.detections) break;
    const float* box = boxes + 4 * (place / classes);
    const Detection found{{box[0], box[1], box[2], box[3]}, scores[place], place % classes};
    const bool covered = std::any_of(kept.begin(), kept.end(), [&](const Detection& other) {
      return other.label == found.label && covers(other, found, limits.iou);
    });
    if (!covered) kept.push_back(found);
  }
  return kept;
}

}  // namespace ghost_ms
