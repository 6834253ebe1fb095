// ghost_ms_classify: `ghost-ms lite run` without Python. Bad input ends in one sentence and exit code 1.
#include <unistd.h>

#include <cstdlib>
#include <exception>
#include <iostream>
#include <utility>
#include <vector>

#include "classifier.h"
#include "options.h"
#include "report.h"

namespace {

/// MindSpore Lite logs what it also returns; a sentence of ours is enough. It reads its log level while it is loaded,
/// before `main`, so the program starts once more; where that fails, the log is merely longer.
void silence_the_log(char** argv) {
  if (std::getenv("GLOG_v") != nullptr) return;
  setenv("GLOG_v", "4", 0);
  execv("/proc/self/exe", argv);
}

int run(const ghost_ms::Options& options) {
  ghost_ms::Classifier classifier(options.model, options.threads, options.target);
  std::vector<ghost_ms::Result> results;
  for (const auto& image : options.images) {
    auto predictions = classifier.classify(image, static_cast<std::size_t>(options.top));
    auto milliseconds = options.bench > 0 ? classifier.time(options.bench) : std::vector<double>{};
    results.push_back({image, std::move(predictions), std::move(milliseconds)});
  }
  std::cout << (options.json ? ghost_ms::as_json(results) : ghost_ms::as_table(results)) << std::flush;
  return std::cout ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace

int main(int argc, char** argv) {
  silence_the_log(argv);
  try {
    const auto options = ghost_ms::parse_options(argc, argv);
    if (options.help) {
      std::cout << ghost_ms::kUsage;
      return EXIT_SUCCESS;
    }
    return run(options);
  } catch (const std::exception& error) {
    std::cerr << "ghost_ms_classify: error: " << ghost_ms::printable(error.what()) << '\n';
    return EXIT_FAILURE;
  }
}
