// SHA-256 (FIPS 180-4) of a file: the exported file's checksum stands in its sidecar.
#pragma once

#include <string>

namespace ghost_ms {

/// In 64 hexadecimal digits; std::runtime_error where the file cannot be read.
std::string sha256_of_file(const std::string& path);

}  // namespace ghost_ms
