#include "sidecar.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace ghost_ms {
namespace {

using Json = nlohmann::json;

void require(bool condition, const char* complaint) {
  if (!condition) throw std::runtime_error(complaint);
}

Interpolation interpolation_of(const std::string& name) {
  require(name == "bilinear" || name == "bicubic", "interpolation is neither bilinear nor bicubic");
  return name == "bilinear" ? Interpolation::kBilinear : Interpolation::kBicubic;
}

Sidecar parse(const Json& content) {
  const Json& preprocessing = content.at("preprocessing");
  Sidecar sidecar{};
  sidecar.batch_size = std::max(1, content.at("inputs").at(0).at("shape").at(0).get<int>());
  sidecar.height = preprocessing.at("input_size").at(0).get<int>();
  sidecar.width = preprocessing.at("input_size").at(1).get<int>();
  sidecar.channels = preprocessing.at("channels").get<int>();
  sidecar.mean = preprocessing.at("mean").get<std::vector<float>>();
  sidecar.std = preprocessing.at("std").get<std::vector<float>>();
  sidecar.crop_ratio = preprocessing.at("crop_ratio").get<double>();
  sidecar.interpolation = interpolation_of(preprocessing.at("interpolation").get<std::string>());
  sidecar.orient = preprocessing.value("orient", false);
  sidecar.normalised_in_graph = content.at("normalisation").get<std::string>() == "in-graph";
  sidecar.gives_probabilities = content.at("outputs").at(0).at("name").get<std::string>() == "probabilities";
  sidecar.classes = content.at("classes").get<std::vector<std::string>>();
  return sidecar;
}

void check(const Sidecar& sidecar) {
  const auto channels = static_cast<std::size_t>(sidecar.channels);
  require(channels == 1 || channels == 3, "channels is neither 1 nor 3");
  require(sidecar.mean.size() == channels && sidecar.std.size() == channels, "mean and std need a value per channel");
  require(std::find(sidecar.std.begin(), sidecar.std.end(), 0.0F) == sidecar.std.end(), "std is 0");
  require(std::min(sidecar.width, sidecar.height) > 0, "input_size is not positive");
  require(sidecar.crop_ratio > 0.0 && sidecar.crop_ratio <= 1.0, "crop_ratio does not lie between 0 and 1");
}

}  // namespace

Sidecar read_sidecar(const std::string& model_path) {
  const auto path = std::filesystem::path(model_path).replace_extension(".json").string();
  std::ifstream file(path);
  if (!file) {
    throw std::runtime_error("'" + model_path + "' has no sidecar '" + path + "'; export writes both, keep them together");
  }
  try {
    const Sidecar sidecar = parse(Json::parse(file));
    check(sidecar);
    return sidecar;
  } catch (const std::exception& error) {
    throw std::runtime_error("'" + path + "' is no sidecar of an export: " + error.what());
  }
}

}  // namespace ghost_ms
