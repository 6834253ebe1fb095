#include "network.h"

#include <include/api/context.h>
#include <include/api/model.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <sstream>
#include <stdexcept>
#include <utility>

namespace ghost_ms {
namespace {

mindspore::ModelType type_of(const std::string& path) {
  const auto extension = std::filesystem::path(path).extension();
  if (extension == ".ms") return mindspore::kMindIR_Lite;
  if (extension == ".mindir") return mindspore::kMindIR;
  throw std::runtime_error("'" + path + "' is neither .ms nor .mindir; `ghost-ms lite convert` writes these");
}

std::shared_ptr<mindspore::Context> context_of(int threads, Target target) {
  auto context = std::make_shared<mindspore::Context>();
  context->SetThreadNum(threads);
  if (target == Target::kAscend) {
    context->MutableDeviceInfo().push_back(std::make_shared<mindspore::AscendDeviceInfo>());
  } else {
    context->MutableDeviceInfo().push_back(std::make_shared<mindspore::CPUDeviceInfo>());
  }
  return context;
}

std::string as_text(const Shape& shape) {
  std::ostringstream text;
  for (const auto extent : shape) text << (text.tellp() > 0 ? "x" : "") << extent;
  return text.str();
}

bool is_open(const Shape& shape) {
  return std::any_of(shape.begin(), shape.end(), [](std::int64_t extent) { return extent <= 0; });
}

}  // namespace

Network::Network(std::string path, int threads, Target target)
    : path_(std::move(path)), model_(std::make_unique<mindspore::Model>()) {
  const auto type = type_of(path_);
  if (!std::filesystem::is_regular_file(path_)) throw std::runtime_error("there is no file '" + path_ + "'");
  if (model_->Build(path_, type, context_of(threads, target)) != mindspore::kSuccess) {
    fail("it cannot load the file; it is damaged, or for another target or version");
  }
  if (model_->GetInputs().size() != 1) fail("it has not exactly one input");
}

Network::~Network() = default;

Shape Network::input_shape() const { return model_->GetInputs().front().Shape(); }

void Network::copy_input(const void* values, std::size_t bytes, const Shape& shape) {
  if (is_open(input_shape()) && model_->Resize(model_->GetInputs(), {shape}) != mindspore::kSuccess) {
    fail("it does not take images of " + as_text(shape));
  }
  auto input = model_->GetInputs().front();
  if (input.Shape() != shape || input.DataSize() != bytes) {
    fail("it takes " + std::to_string(input.DataSize()) + " bytes of shape " + as_text(input.Shape()) +
         ", its sidecar says " + std::to_string(bytes) + " of " + as_text(shape));
  }
  std::memcpy(input.MutableData(), values, bytes);
}

void Network::predict() {
  std::vector<mindspore::MSTensor> outputs;
  if (model_->Predict(model_->GetInputs(), &outputs) != mindspore::kSuccess) fail("the call failed");
}

std::vector<float> Network::output(std::size_t place) const {
  const auto outputs = model_->GetOutputs();
  if (place >= outputs.size()) fail("it has " + std::to_string(outputs.size()) + " outputs");
  const auto& output = outputs[place];
  if (output.DataType() != mindspore::DataType::kNumberTypeFloat32) fail("its output is not float32");
  const auto data = output.Data();
  const auto* values = static_cast<const float*>(data.get());
  return {values, values + output.ElementNum()};
}

std::vector<std::int32_t> Network::labels() const {
  const auto output = model_->GetOutputs().front();
  if (output.DataType() != mindspore::DataType::kNumberTypeInt32) fail("its output is not int32");
  const auto* values = static_cast<const std::int32_t*>(output.Data().get());
  return {values, values + output.ElementNum()};
}

void Network::fail(const std::string& reason) const {
  throw std::runtime_error("MindSpore Lite cannot run '" + path_ + "': " + reason);
}

}  // namespace ghost_ms
