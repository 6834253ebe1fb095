#include "sidecar.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "sha256.h"

namespace ghost_ms {
namespace {

using Json = nlohmann::json;

/// What lies beyond is a mistake or meant to harm: the side of a picture that is resized, the values of a call.
constexpr double kLongestSide = 8192.0;
constexpr double kMostPixels = 1e9;

void require(bool condition, const char* complaint) {
  if (!condition) throw std::runtime_error(complaint);
}

Interpolation interpolation_of(const std::string& name) {
  require(name == "bilinear" || name == "bicubic", "interpolation is neither bilinear nor bicubic");
  return name == "bilinear" ? Interpolation::kBilinear : Interpolation::kBicubic;
}

struct Kind {
  const char* name;
  const char* refusal;
};

Kind kind_of(Task task) {
  switch (task) {
    case Task::kSegmentation: return {"segmentation", "its task is another one, and this program segments"};
    case Task::kDetection: return {"detection", "its task is another one, and this program detects"};
    default: return {"classification", "its task is another one, and this program classifies"};
  }
}

/// How detections are found among a detector's outputs.
Limits limits_of(const Json& content, const std::vector<std::string>& classes, const std::vector<double>& thresholds) {
  const Json& args = content.at("task_args");
  Limits limits{};
  limits.iou = args.at("iou_threshold").get<double>();
  limits.detections = args.at("max_detections").get<std::size_t>();
  limits.candidates = args.at("candidates").get<std::size_t>();
  limits.by_class = args.at("by_class").get<bool>();
  limits.levels = args.at("levels").get<std::vector<std::size_t>>();
  const double shown = args.at("show_threshold").get<double>();
  for (std::size_t label = 0; label < classes.size(); ++label) {
    limits.scores.push_back(static_cast<float>(thresholds.empty() ? shown : thresholds[label]));
  }
  require(limits.iou >= 0.0 && limits.iou <= 1.0 && shown >= 0.0 && shown <= 1.0, "task_args are no parts of 1");
  require(!classes.empty() && limits.detections > 0 && limits.candidates > 0 && !limits.levels.empty(),
          "task_args say of no detections");
  // What lies beyond is a mistake or meant to harm.
  require(std::all_of(limits.levels.begin(), limits.levels.end(), [](std::size_t rows) { return rows < 100000000; }) &&
              limits.levels.size() <= 16,
          "levels are too many");
  return limits;
}

Sidecar parse(const Json& content, Task task) {
  const bool classifies = task == Task::kClassification;
  require(content.value("task", std::string("classification")) == kind_of(task).name, kind_of(task).refusal);
  const Json& preprocessing = content.at("preprocessing");
  Sidecar sidecar{};
  sidecar.batch_size = std::max(1, content.at("inputs").at(0).at("shape").at(0).get<int>());
  sidecar.height = preprocessing.at("input_size").at(0).get<int>();
  sidecar.width = preprocessing.at("input_size").at(1).get<int>();
  sidecar.channels = preprocessing.at("channels").get<int>();
  sidecar.mean = preprocessing.at("mean").get<std::vector<float>>();
  for (const double mean : preprocessing.at("mean").get<std::vector<double>>()) {
    sidecar.colour.push_back(static_cast<std::uint8_t>(std::clamp(std::nearbyint(255.0 * mean), 0.0, 255.0)));
  }
  sidecar.std = preprocessing.at("std").get<std::vector<float>>();
  sidecar.crop_ratio = preprocessing.at("crop_ratio").get<double>();
  sidecar.interpolation = interpolation_of(preprocessing.at("interpolation").get<std::string>());
  sidecar.orient = preprocessing.value("orient", false);
  const auto fit = preprocessing.value("fit", std::string("crop"));
  require(fit == (classifies ? "crop" : "letterbox"), "fit is not the one of its task");
  sidecar.letterbox = fit == "letterbox";
  sidecar.normalised_in_graph = content.at("normalisation").get<std::string>() == "in-graph";
  sidecar.gives_probabilities = content.at("outputs").at(0).at("name").get<std::string>() == "probabilities";
  sidecar.gives_labels = content.at("outputs").at(0).at("name").get<std::string>() == "labels";
  sidecar.classes = content.at("classes").get<std::vector<std::string>>();
  if (content.contains("thresholds")) {
    sidecar.thresholds = content.at("thresholds").get<std::vector<double>>();
    require(!sidecar.classes.empty() && sidecar.thresholds.size() == sidecar.classes.size(),
            "thresholds need a value per class");
    require(!sidecar.gives_probabilities, "thresholds for several labels of an image do not go with a softmax");
  }
  if (task == Task::kDetection) sidecar.limits = limits_of(content, sidecar.classes, sidecar.thresholds);
  return sidecar;
}

void check(const Sidecar& sidecar) {
  const auto channels = static_cast<std::size_t>(sidecar.channels);
  require(channels == 1 || channels == 3, "channels is neither 1 nor 3");
  require(sidecar.mean.size() == channels && sidecar.std.size() == channels, "mean and std need a value per channel");
  require(std::all_of(sidecar.std.begin(), sidecar.std.end(), [](float value) { return value > 0.0F; }),
          "std is not above 0");
  require(std::all_of(sidecar.thresholds.begin(), sidecar.thresholds.end(),
                      [](double value) { return value >= 0.0 && value <= 1.0; }),
          "thresholds are no probabilities");
  require(std::min(sidecar.width, sidecar.height) > 0, "input_size is not positive");
  require(sidecar.crop_ratio > 0.0 && sidecar.crop_ratio <= 1.0, "crop_ratio does not lie between 0 and 1");
  require(std::max(sidecar.width, sidecar.height) / sidecar.crop_ratio <= kLongestSide, "input_size is too large");
  const auto pixels = static_cast<double>(sidecar.width) * sidecar.height * sidecar.channels;
  require(sidecar.batch_size * pixels <= kMostPixels, "a call takes too many images");
}

/// A sidecar of an earlier version has no checksums; one that has them was written for the files of one of them.
void check_sum(const std::string& model_path, const std::string& path, const Json& content) {
  if (!content.contains("sha256") || !std::filesystem::is_regular_file(model_path)) return;
  const auto found = sha256_of_file(model_path);
  for (const auto& known : content.at("sha256")) {
    if (known.get<std::string>() == found) return;
  }
  throw std::runtime_error("'" + model_path + "' is not the file that '" + path + "' was written for (SHA-256 " +
                           found.substr(0, 12) + "...): one of the two was changed, cut or exchanged; export or " +
                           "convert it again");
}

}  // namespace

Sidecar read_sidecar(const std::string& model_path, Task task) {
  const auto path = std::filesystem::path(model_path).replace_extension(".json").string();
  std::ifstream file(path);
  if (!file) {
    throw std::runtime_error("'" + model_path + "' has no sidecar '" + path + "'; export writes both, keep them together");
  }
  Json content;
  Sidecar sidecar{};
  try {
    content = Json::parse(file);
    sidecar = parse(content, task);
    check(sidecar);
    // Texts alone, so that the comparison below cannot fail for another reason.
    if (content.contains("sha256")) content.at("sha256").get<std::map<std::string, std::string>>();
  } catch (const std::exception& error) {
    throw std::runtime_error("'" + path + "' is no sidecar of an export: " + error.what());
  }
  check_sum(model_path, path, content);
  return sidecar;
}

}  // namespace ghost_ms
