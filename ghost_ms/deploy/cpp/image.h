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
  /// std::length_error above 2^28 pixels.
  Image(int width, int height, int channels);

  std::size_t row_bytes() const { return static_cast<std::size_t>(width) * static_cast<std::size_t>(channels); }
  std::uint8_t* row(int y) { return pixels.data() + row_bytes() * static_cast<std::size_t>(y); }
  const std::uint8_t* row(int y) const { return pixels.data() + row_bytes() * static_cast<std::size_t>(y); }

  int width = 0;
  int height = 0;
  int channels = 0;
  Bytes pixels;
};

/// The limits of ghost_ms/data/decode.py: pixels of an image, bytes of its file.
constexpr std::int64_t kMaxPixels = 178956970;
constexpr std::uintmax_t kMaxBytes = std::uintmax_t{1} << 30;

/// std::length_error above `kMaxPixels`: a damaged or hostile header asks for any size.
void check_size(std::int64_t width, std::int64_t height);

/// The whole content of a file; std::runtime_error where it cannot be read.
Bytes read_file(const std::string& path);

/// A JPEG or PNG file as RGB (`channels` 3) or grey (1), with the pixels that `Preprocessing` in Python gives: upright
/// as the file's EXIF block says if `orient`, of 16 bits the upper 8, without its alpha.
/// std::runtime_error names the file where it is no such image or is damaged.
Image load_image(const std::string& path, int channels, bool orient);

/// What a decoder gives: grey or RGB, as the file has it, and its EXIF orientation, 1 to 8.
struct Decoded {
  Image image;
  int orientation = 1;
};

/// Decoders; std::runtime_error says what is wrong.
Decoded decode_jpeg(const Bytes& content);
Decoded decode_png(const Bytes& content);

/// Writes classes, row after row, as a PNG with VOC's palette; std::runtime_error where that fails, and then nothing is
/// left of the file.
void write_labels(const std::string& path, const std::vector<std::uint8_t>& labels, int width, int height);

}  // namespace ghost_ms
