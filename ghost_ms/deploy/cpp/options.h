// The command line.
#pragma once

#include <string>
#include <vector>

#include "network.h"

namespace ghost_ms {

struct Options {
  std::string model;
  std::vector<std::string> images;
  int top = 5;
  int threads = 2;
  int bench = 0;  ///< calls to time; 0 for none
  bool json = false;
  bool help = false;
  Target target = Target::kCpu;
};

extern const char* const kUsage;

/// Reads the arguments of `main`; std::runtime_error where they are wrong.
Options parse_options(int argc, char** argv);

}  // namespace ghost_ms
