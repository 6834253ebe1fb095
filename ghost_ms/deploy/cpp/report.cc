#include "report.h"

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

namespace ghost_ms {
namespace {

using Json = nlohmann::ordered_json;

/// Of ascending values, between neighbours where the quantile falls there.
double quantile(const std::vector<double>& sorted, double share) {
  const double position = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(position);
  const auto above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (position - std::floor(position)) * (sorted[above] - sorted[below]);
}

}  // namespace

std::string printable(const std::string& text) {
  std::ostringstream shown;
  shown << std::hex << std::setfill('0');
  for (std::size_t at = 0; at < text.size(); ++at) {
    const auto byte = static_cast<unsigned char>(text[at]), next = static_cast<unsigned char>(text.c_str()[at + 1]);
    if (byte == 0xc2 && next >= 0x80 && next < 0xa0) {  // UTF-8 of U+0080 to U+009F
      shown << "\\x" << std::setw(2) << static_cast<int>(next);
      ++at;
    } else if (byte < 0x20 || byte == 0x7f) {
      shown << "\\x" << std::setw(2) << static_cast<int>(byte);
    } else {
      shown << text[at];
    }
  }
  return shown.str();
}

std::string as_table(const std::vector<Result>& results) {
  std::ostringstream text;
  text << std::fixed << std::setprecision(2);
  for (const auto& [image, predictions, milliseconds] : results) {
    text << printable(image) << '\n';
    for (const auto& prediction : predictions) {
      text << "  " << std::setw(6) << 100 * prediction.probability << " %  " << printable(prediction.name) << '\n';
    }
    if (predictions.empty()) text << "  no class reaches its threshold\n";
    if (!milliseconds.empty()) {
      text << "  median " << quantile(milliseconds, 0.5) << " ms, quartiles " << quantile(milliseconds, 0.25) << " - "
           << quantile(milliseconds, 0.75) << " ms, of " << milliseconds.size() << " calls\n";
    }
  }
  return text.str();
}

std::string as_json(const std::vector<Result>& results) {
  Json list = Json::array();
  for (const auto& [image, predictions, milliseconds] : results) {
    Json entry{{"image", image}, {"predictions", Json::array()}};
    for (const auto& [name, index, probability] : predictions) {
      entry["predictions"].push_back({{"class", name}, {"index", index}, {"probability", probability}});
    }
    if (!milliseconds.empty()) {
      entry["latency_ms"] = {{"median", quantile(milliseconds, 0.5)},
                             {"low", quantile(milliseconds, 0.25)},
                             {"high", quantile(milliseconds, 0.75)},
                             {"calls", milliseconds.size()}};
    }
    list.push_back(std::move(entry));
  }
  // A path need not be UTF-8; JSON is ASCII then, with a mark in place of what is not.
  return list.dump(1, ' ', true, Json::error_handler_t::replace) + '\n';
}

}  // namespace ghost_ms
