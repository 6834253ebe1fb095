// A converted network in MindSpore Lite; the only place that knows the runtime.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace mindspore {
class Model;
}  // namespace mindspore

namespace ghost_ms {

enum class Target { kCpu, kAscend };
using Shape = std::vector<std::int64_t>;

class Network {
 public:
  /// Loads a .ms or .mindir file; std::runtime_error where that fails.
  Network(std::string path, int threads, Target target);
  ~Network();
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  /// Extents of the input; not positive where the file leaves one open.
  Shape input_shape() const;

  /// Copies the values in; std::runtime_error where the network takes another shape or type.
  template <typename T>
  void set_input(const std::vector<T>& values, const Shape& shape) {
    copy_input(values.data(), values.size() * sizeof(T), shape);
  }

  /// Runs the network on what `set_input` was given last.
  void predict();

  /// An output of the last run, all images one after the other; std::runtime_error where there is none, or it has
  /// another type.
  std::vector<float> output(std::size_t place = 0) const;
  std::vector<std::int32_t> labels() const;

 private:
  void copy_input(const void* values, std::size_t bytes, const Shape& shape);
  [[noreturn]] void fail(const std::string& reason) const;

  std::string path_;
  std::unique_ptr<mindspore::Model> model_;
};

}  // namespace ghost_ms
