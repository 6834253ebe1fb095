#include "exif.h"

#include <algorithm>

namespace ghost_ms {
namespace {

/// Numbers at a place of a block in its own order of bytes; whoever asks has looked whether they lie inside.
struct Reader {
  const std::uint8_t* block;
  bool little;

  std::uint32_t number(std::size_t at, std::size_t bytes) const {
    std::uint32_t value = 0;
    for (std::size_t index = 0; index < bytes; ++index) {
      value = value << 8 | block[at + (little ? bytes - 1 - index : index)];
    }
    return value;
  }
};

/// Bytes of a header, of an entry, and of the entry up to the end of a short value.
constexpr std::size_t kHeader = 8, kEntry = 12, kValueEnd = 10;
constexpr std::uint32_t kOrientation = 0x112, kShort = 3;

}  // namespace

int exif_orientation(const std::uint8_t* block, std::size_t size) {
  if (size < kHeader || block[0] != block[1] || (block[0] != 'I' && block[0] != 'M')) return 1;
  const Reader read{block, block[0] == 'I'};
  const std::size_t start = read.number(4, 4);
  if (read.number(2, 2) != 42 || start > size - 2) return 1;
  const std::size_t entries = read.number(start, 2);
  for (std::size_t index = 0, at = start + 2; index < entries && at + kValueEnd <= size; ++index, at += kEntry) {
    if (read.number(at, 2) != kOrientation) continue;
    const bool one_short = read.number(at + 2, 2) == kShort && read.number(at + 4, 4) == 1;
    const auto value = static_cast<int>(read.number(at + 8, 2));
    return one_short && value >= 1 && value <= 8 ? value : 1;
  }
  return 1;
}

Image turned(Image image, int orientation) {
  if (orientation < 2 || orientation > 8) return image;
  const bool exchange = orientation >= 5;
  // After rows and columns are exchanged: from the last row on, from the last column on.
  const bool rows = orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;
  const bool columns = orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7;
  Image result(exchange ? image.height : image.width, exchange ? image.width : image.height, image.channels);
  const auto channels = static_cast<std::size_t>(image.channels);
  for (int y = 0; y < result.height; ++y) {
    std::uint8_t* target = result.row(y);
    for (int x = 0; x < result.width; ++x, target += channels) {
      const int row = rows ? result.height - 1 - y : y, column = columns ? result.width - 1 - x : x;
      const std::uint8_t* source = exchange ? image.row(column) + channels * static_cast<std::size_t>(row)
                                            : image.row(row) + channels * static_cast<std::size_t>(column);
      std::copy_n(source, channels, target);
    }
  }
  return result;
}

}  // namespace ghost_ms
