#include "program.h"

#include <unistd.h>

#include <cstdlib>
#include <exception>
#include <iostream>

#include "report.h"

namespace ghost_ms {
namespace {

/// MindSpore Lite logs what it also returns; a sentence of ours is enough. It reads its log level while it is loaded,
/// before `main`, so the program starts once more; where that fails, the log is merely longer.
void silence_the_log(char** argv) {
  if (std::getenv("GLOG_v") != nullptr) return;
  setenv("GLOG_v", "4", 0);
  execv("/proc/self/exe", argv);
}

}  // namespace

int run_program(const Command& command, int argc, char** argv, void (*work)(const Options&)) {
  silence_the_log(argv);
  try {
    const auto options = parse_options(command, argc, argv);
    if (options.help) {
      std::cout << command.usage << kSharedUsage;
      return EXIT_SUCCESS;
    }
    work(options);
    std::cout << std::flush;
    return std::cout ? EXIT_SUCCESS : EXIT_FAILURE;
  } catch (const std::exception& error) {
    std::cerr << command.name << ": error: " << printable(error.what()) << '\n';
    return EXIT_FAILURE;
  }
}

}  // namespace ghost_ms
