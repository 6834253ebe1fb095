#include "report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
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

std::string latency_line(const std::vector<double>& milliseconds) {
  if (milliseconds.empty()) return {};
  std::ostringstream text;
  text << std::fixed << std::setprecision(2) << "  median " << quantile(milliseconds, 0.5) << " ms, quartiles "
       << quantile(milliseconds, 0.25) << " - " << quantile(milliseconds, 0.75) << " ms, of " << milliseconds.size()
       << " calls\n";
  return text.str();
}

std::string share_line(double share, const std::string& name) {
  std::ostringstream text;
  text << std::fixed << std::setprecision(2) << "  " << std::setw(6) << 100 * share << " %  " << printable(name) << '\n';
  return text.str();
}

void add_latency(Json& entry, const std::vector<double>& milliseconds) {
  if (milliseconds.empty()) return;
  entry["latency_ms"] = {{"median", quantile(milliseconds, 0.5)},
                         {"low", quantile(milliseconds, 0.25)},
                         {"high", quantile(milliseconds, 0.75)},
                         {"calls", milliseconds.size()}};
}

/// Rounded to three digits as Python rounds: by its exact decimal value.
double thousandth(double value) {
  char text[64];
  std::snprintf(text, sizeof text, "%.3f", value);
  return std::strtod(text, nullptr);
}

/// A path need not be UTF-8; JSON is ASCII then, with a mark in place of what is not.
std::string dumped(const Json& list) { return list.dump(1, ' ', true, Json::error_handler_t::replace) + '\n'; }

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
  std::string text;
  for (const auto& [image, predictions, milliseconds] : results) {
    text += printable(image) + '\n';
    for (const auto& prediction : predictions) text += share_line(prediction.probability, prediction.name);
    if (predictions.empty()) text += "  no class reaches its threshold\n";
    text += latency_line(milliseconds);
  }
  return text;
}

std::string as_table(const std::vector<SegmentResult>& results) {
  std::string text;
  for (const auto& result : results) {
    text += printable(result.image) + '\n';
    for (const auto& one : result.shares) text += share_line(one.share, one.name);
    text += latency_line(result.milliseconds);
  }
  return text;
}

std::string as_table(const std::vector<DetectResult>& results) {
  std::string text;
  for (const auto& result : results) {
    text += printable(result.image) + '\n';
    for (const auto& one : result.objects) {
      std::ostringstream place;
      place << std::fixed << std::setprecision(0) << "  at " << one.box[0] << ',' << one.box[1] << " to " << one.box[2]
            << ',' << one.box[3] << '\n';
      auto line = share_line(one.score, one.name);
      line.pop_back();
      text += line + place.str();
    }
    if (result.objects.empty()) text += "  nothing was found\n";
    text += latency_line(result.milliseconds);
  }
  return text;
}

std::string as_json(const std::vector<Result>& results) {
  Json list = Json::array();
  for (const auto& [image, predictions, milliseconds] : results) {
    Json entry{{"image", image}, {"predictions", Json::array()}};
    for (const auto& [name, index, probability] : predictions) {
      entry["predictions"].push_back({{"class", name}, {"index", index}, {"probability", probability}});
    }
    add_latency(entry, milliseconds);
    list.push_back(std::move(entry));
  }
  return dumped(list);
}

std::string as_json(const std::vector<SegmentResult>& results) {
  Json list = Json::array();
  for (const auto& result : results) {
    Json entry{{"image", result.image}, {"width", result.width}, {"height", result.height}, {"classes", Json::array()}};
    for (const auto& [name, index, share] : result.shares) {
      entry["classes"].push_back({{"class", name}, {"index", index}, {"share", share}});
    }
    add_latency(entry, result.milliseconds);
    list.push_back(std::move(entry));
  }
  return dumped(list);
}

std::string as_json(const std::vector<DetectResult>& results) {
  Json list = Json::array();
  for (const auto& result : results) {
    Json entry{{"image", result.image}, {"width", result.width}, {"height", result.height}, {"objects", Json::array()}};
    for (const auto& one : result.objects) {
      Json box = Json::array();
      for (const double side : one.box) box.push_back(thousandth(side));
      entry["objects"].push_back({{"class", one.name}, {"index", one.index}, {"score", one.score}, {"box", box}});
    }
    add_latency(entry, result.milliseconds);
    list.push_back(std::move(entry));
  }
  return dumped(list);
}

}  // namespace ghost_ms
