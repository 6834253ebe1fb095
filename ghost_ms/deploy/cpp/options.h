// The command line.
#pragma once

#include <string>
#include <vector>

#include "network.h"

namespace ghost_ms {

struct Options {
  std::string model;
  std::vector<std::string> images;
  int top = 0;  ///< 0 where it was not given
  std::string pictures;  ///< folder; empty for none
  int threads = 2;
  int bench = 0;  ///< calls to time; 0 for none
  bool json = false;
  bool help = false;
  Target target = Target::kCpu;
};

/// What the help of every program ends with.
extern const char* const kSharedUsage;

/// A program: its name, the beginning of its help, and the option that it alone has.
struct Command {
  const char* name;
  const char* usage;
  std::string own;
};

/// Reads the arguments of `main`; std::runtime_error where they are wrong.
Options parse_options(const Command& command, int argc, char** argv);

}  // namespace ghost_ms
