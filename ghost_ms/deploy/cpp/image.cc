#include "image.h"

#include "exif.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <stdexcept>
#include <utility>

namespace ghost_ms {
namespace {

bool starts_with(const Bytes& content, std::initializer_list<std::uint8_t> signature) {
  return content.size() >= signature.size() && std::equal(signature.begin(), signature.end(), content.begin());
}

Decoded decode(const Bytes& content) {
  if (starts_with(content, {0xff, 0xd8})) return decode_jpeg(content);
  if (starts_with(content, {0x89, 'P', 'N', 'G'})) return decode_png(content);
  throw std::runtime_error("neither JPEG nor PNG");
}

Image to_rgb(const Image& grey) {
  Image rgb(grey.width, grey.height, 3);
  auto target = rgb.pixels.begin();
  for (const auto level : grey.pixels) target = std::fill_n(target, 3, level);
  return rgb;
}

/// Luma of ITU-R BT.601, 299/1000 R + 587/1000 G + 114/1000 B, in 16-bit fixed point and rounded.
Image to_grey(const Image& rgb) {
  Image grey(rgb.width, rgb.height, 1);
  auto source = rgb.pixels.begin();
  for (auto& level : grey.pixels) {
    level = static_cast<std::uint8_t>((19595u * source[0] + 38470u * source[1] + 7471u * source[2] + 0x8000u) >> 16);
    source += 3;
  }
  return grey;
}

}  // namespace

Image::Image(int width_, int height_, int channels_) : width(width_), height(height_), channels(channels_) {
  if (std::int64_t{width} * height > std::int64_t{1} << 28) throw std::length_error("it has more than 2^28 pixels");
  pixels.resize(row_bytes() * static_cast<std::size_t>(height));
}

void check_size(std::int64_t width, std::int64_t height) {
  if (width > 0 && height > kMaxPixels / width) {
    throw std::length_error("its size is " + std::to_string(width) + "x" + std::to_string(height) + ", and " +
                            std::to_string(kMaxPixels) + " pixels are the limit");
  }
}

Bytes read_file(const std::string& path) {
  if (!std::filesystem::is_regular_file(path)) throw std::runtime_error("there is no file '" + path + "'");
  if (std::filesystem::file_size(path) > kMaxBytes) throw std::runtime_error("'" + path + "' is larger than 1 GiB");
  std::ifstream file(path, std::ios::binary);
  Bytes content{std::istreambuf_iterator<char>(file), {}};
  if (!file) throw std::runtime_error("cannot read '" + path + "'");
  return content;
}

Image load_image(const std::string& path, int channels, bool orient) {
  const Bytes content = read_file(path);
  try {
    Decoded decoded = decode(content);
    const Image image = orient ? turned(std::move(decoded.image), decoded.orientation) : std::move(decoded.image);
    if (image.channels == channels) return image;
    return channels == 3 ? to_rgb(image) : to_grey(image);
  } catch (const std::exception& error) {
    throw std::runtime_error("'" + path + "' is not a readable image: " + error.what());
  }
}

}  // namespace ghost_ms
