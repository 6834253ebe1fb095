// ghost_ms_detect: `ghost-ms lite run` of a detector without Python.
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "detector.h"
#include "program.h"
#include "report.h"

namespace {

const ghost_ms::Command kCommand{
    "ghost_ms_detect",
    "usage: ghost_ms_detect [options] MODEL IMAGE...\n\n"
    "Finds objects in JPEG and PNG images, with a network that `ghost-ms lite convert` wrote.\n\n"
    "  MODEL            converted .ms or .mindir, with its sidecar (.json) beside it\n"
    "  --top N          most objects of an image (by default as the sidecar says)\n",
    "top"};

void detect(const ghost_ms::Options& options) {
  ghost_ms::Detector detector(options.model, options.threads, options.target);
  std::vector<ghost_ms::DetectResult> results;
  for (const auto& path : options.images) {
    auto found = detector.detect(path, options.top);
    auto milliseconds = options.bench > 0 ? detector.time(options.bench) : std::vector<double>{};
    results.push_back({path, found.image.width, found.image.height, std::move(found.objects), std::move(milliseconds)});
  }
  std::cout << (options.json ? ghost_ms::as_json(results) : ghost_ms::as_table(results));
}

}  // namespace

int main(int argc, char** argv) { return ghost_ms::run_program(kCommand, argc, argv, detect); }
