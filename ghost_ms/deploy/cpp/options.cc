#include "options.h"

#include <getopt.h>

#include <charconv>
#include <cstring>
#include <stdexcept>

namespace ghost_ms {
namespace {

int positive(const char* option, const char* text) {
  int value = 0;
  const char* end = text + std::strlen(text);
  const auto [rest, error] = std::from_chars(text, end, value);
  if (error != std::errc{} || rest != end || value < 1) {
    throw std::runtime_error(std::string("--") + option + " is '" + text + "'; it is a whole number, 1 or more");
  }
  return value;
}

Target target_of(const std::string& name) {
  if (name == "cpu") return Target::kCpu;
  if (name == "ascend") return Target::kAscend;
  throw std::runtime_error("--target is '" + name + "'; known are cpu and ascend");
}

}  // namespace

const char* const kSharedUsage =
    "  --json           print JSON instead of a table\n"
    "  --bench N        also time N calls of the network for each image\n"
    "  --threads N      threads of the runtime (default 2)\n"
    "  --target TARGET  cpu (default), or ascend with a MindSpore Lite for Atlas\n"
    "  -h, --help       print this\n";

Options parse_options(const Command& command, int argc, char** argv) {
  const int own = command.own == "top" ? 't' : 'p';
  const option known[] = {
      {command.own.c_str(), required_argument, nullptr, own}, {"json", no_argument, nullptr, 'j'},
      {"bench", required_argument, nullptr, 'b'},   {"threads", required_argument, nullptr, 'n'},
      {"target", required_argument, nullptr, 'd'},  {"help", no_argument, nullptr, 'h'},
      {nullptr, 0, nullptr, 0},
  };
  Options options;
  opterr = 0;  // getopt would print a line of its own.
  for (int code = 0; (code = getopt_long(argc, argv, "h", known, nullptr)) != -1;) {
    switch (code) {
      case 't': options.top = positive("top", optarg); break;
      case 'p': options.pictures = optarg; break;
      case 'b': options.bench = positive("bench", optarg); break;
      case 'n': options.threads = positive("threads", optarg); break;
      case 'd': options.target = target_of(optarg); break;
      case 'j': options.json = true; break;
      case 'h': options.help = true; return options;
      default: throw std::runtime_error(std::string("'") + argv[optind - 1] + "' is no option, or lacks its value; "
                                        "--help lists all");
    }
  }
  if (argc - optind < 2) throw std::runtime_error("name a model and at least one image; --help shows how");
  options.model = argv[optind];
  options.images.assign(argv + optind + 1, argv + argc);
  return options;
}

}  // namespace ghost_ms
