// ghost_ms_segment: `ghost-ms lite run` of a segmenter without Python, and the map of classes as a picture.
#include <filesystem>
#include <iostream>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "program.h"
#include "report.h"
#include "segmenter.h"

namespace {

const ghost_ms::Command kCommand{
    "ghost_ms_segment",
    "usage: ghost_ms_segment [options] MODEL IMAGE...\n\n"
    "Gives every pixel of JPEG and PNG images a class, with a network that `ghost-ms lite convert` wrote.\n\n"
    "  MODEL            converted .ms or .mindir, with its sidecar (.json) beside it\n"
    "  --pictures DIR   write NAME_labels.png, the class of every pixel as an indexed picture, into this folder\n",
    "pictures"};

void segment(const ghost_ms::Options& options) {
  ghost_ms::Segmenter segmenter(options.model, options.threads, options.target);
  if (!options.pictures.empty()) std::filesystem::create_directories(options.pictures);
  std::set<std::string> taken;
  std::vector<ghost_ms::SegmentResult> results;
  for (const auto& path : options.images) {
    const auto found = segmenter.segment(path);
    auto milliseconds = options.bench > 0 ? segmenter.time(options.bench) : std::vector<double>{};
    if (!options.pictures.empty()) {
      const auto name = std::filesystem::path(path).stem().string();
      auto stem = name;
      // Images of one name get a number.
      for (int number = 2; !taken.insert(stem).second; ++number) stem = name + "-" + std::to_string(number);
      ghost_ms::write_labels((std::filesystem::path(options.pictures) / (stem + "_labels.png")).string(), found.labels,
                             found.image.width, found.image.height);
    }
    results.push_back({path, found.image.width, found.image.height, segmenter.shares(found.labels),
                       std::move(milliseconds)});
  }
  std::cout << (options.json ? ghost_ms::as_json(results) : ghost_ms::as_table(results));
}

}  // namespace

int main(int argc, char** argv) { return ghost_ms::run_program(kCommand, argc, argv, segment); }
