// Which way up a photograph is shown.
#pragma once

#include <cstddef>
#include <cstdint>

#include "image.h"

namespace ghost_ms {

/// The orientation, 1 to 8, of an EXIF block (a TIFF header and what follows); 1 where it has none or is damaged (CIPA
/// DC-008, section 4.6.4, tag 0x112).
int exif_orientation(const std::uint8_t* block, std::size_t size);

/// The image as it is to be shown by an orientation of 1 to 8.
Image turned(Image image, int orientation);

}  // namespace ghost_ms
