// ghost_ms_classify: `ghost-ms lite run` of a classifier without Python.
#include <iostream>
#include <utility>
#include <vector>

#include "classifier.h"
#include "program.h"
#include "report.h"

namespace {

const ghost_ms::Command kCommand{
    "ghost_ms_classify",
    "usage: ghost_ms_classify [options] MODEL IMAGE...\n\n"
    "Classifies JPEG and PNG images with a network that `ghost-ms lite convert` wrote.\n\n"
    "  MODEL            converted .ms or .mindir, with its sidecar (.json) beside it\n"
    "  --top N          classes to show for each image (default 5)\n",
    "top"};

void classify(const ghost_ms::Options& options) {
  ghost_ms::Classifier classifier(options.model, options.threads, options.target);
  std::vector<ghost_ms::Result> results;
  for (const auto& image : options.images) {
    auto predictions = classifier.classify(image, static_cast<std::size_t>(options.top > 0 ? options.top : 5));
    auto milliseconds = options.bench > 0 ? classifier.time(options.bench) : std::vector<double>{};
    results.push_back({image, std::move(predictions), std::move(milliseconds)});
  }
  std::cout << (options.json ? ghost_ms::as_json(results) : ghost_ms::as_table(results));
}

}  // namespace

int main(int argc, char** argv) { return ghost_ms::run_program(kCommand, argc, argv, classify); }
