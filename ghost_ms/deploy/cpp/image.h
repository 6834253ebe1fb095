// Pixels, and the files that they come from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace ghost_ms {

using Bytes = std::vector<std::uint8_t>;

/// 8-bit pixels, row after row, the channels of a pixel side by side.
struct Image {
  Image() = default;
  /// std::length_error above 2^28 pixels: a damaged or hostile header asks for any size.
  Image(int width, int height, int channels);

  std::size_t row_bytes() const { return static_cast<std::size_t>(width) * static_cast<std::size_t>(channels); }
  std::uint8_t* row(int y) { return pixels.data() + row_bytes() * static_cast<std::size_t>(y); }
  const std::uint8_t* row(int y) const { return pixels.data() + row_bytes() * static_cast<std::size_t>(y); }

  int width = 0;
  int height = 0;
  int channels = 0;
  Bytes pixels;
};

/// The whole content of a file; std::runtime_error where it cannot be read.
Bytes read_file(const std::string& path);

/// A JPEG or PNG file as RGB (`channels` 3) or grey (1), with the pixels that Pillow gives.
/// std::runtime_error names the file where it is no such image or is damaged.
Image load_image(const std::string& path, int channels);

/// Decoders: grey or RGB, as the file has it; std::runtime_error says what is wrong.
Image decode_jpeg(const Bytes& content);
Image decode_png(const Bytes& content);

}  // namespace ghost_ms
