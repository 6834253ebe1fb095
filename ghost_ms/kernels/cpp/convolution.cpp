// A matrix product whose right-hand side is made panel by panel from the maps and never as a whole: a panel stays in the
// cache while all filters take it. For the gradient of the filters one image is written out at a time, and for that of
// the maps one image's products are added up where they belong.
#include "convolution.hpp"

#include <algorithm>

#include "product.hpp"
#include "threads.hpp"
#include "vector.hpp"

namespace ghost {
namespace {

// Floats that are written out at a time for the gradient of the filters (8 MB).
constexpr int64_t kWritten = 1 << 21;

// Numbers `row` (channel, tap) of output pixels [at, at + count) of an image.
void gather(const Convolution &c, const float *image, int64_t row, int64_t at, int64_t count, float *to) {
  const int64_t taps = c.kernel_h * c.kernel_w, tap = row % taps;
  const float *map = image + row / taps * c.in();
  const int64_t down = tap / c.kernel_w * c.dilation_h - c.top, right = tap % c.kernel_w * c.dilation_w - c.left;
  int64_t y = at / c.out_width, x = at % c.out_width;
  while (count > 0) {
    const int64_t length = std::min(count, c.out_width - x), from = y * c.stride_h + down;
    if (from < 0 || from >= c.height) {
      std::fill(to, to + length, 0.0f);
    } else {
      const float *line = map + from * c.width;
      const int64_t first = x * c.stride_w + right;
      if (c.stride_w == 1) {
        const int64_t before = std::min(length, std::max<int64_t>(0, -first));
        const int64_t inside = std::max<int64_t>(0, std::min(length, c.width - first) - before);
        for (int64_t i = 0; i < before; ++i) to[i] = 0;
        for (int64_t i = 0; i < inside; ++i) to[before + i] = line[first + before + i];
        for (int64_t i = before + inside; i < length; ++i) to[i] = 0;
      } else {
        for (int64_t i = 0; i < length; ++i) {
          const int64_t column = first + i * c.stride_w;
          to[i] = column >= 0 && column < c.width ? line[column] : 0.0f;
        }
      }
    }
    to += length;
    count -= length;
    x = 0;
    ++y;
  }
}

}  // namespace

void convolution_forward(const Convolution &c, const float *x, const float *w, const float *bias, float *y, int act) {
  const int64_t depth = c.depth(), each = c.outputs / c.groups, pixels = c.out();
  for (int64_t group = 0; group < c.groups; ++group) {
    const float *maps = x + group * (c.inputs / c.groups) * c.in();
    // Columns are the pixels of all images, one behind the other.
    const Pack pack = [&](int64_t at, int64_t columns, int64_t padded, float *to) {
      for (int64_t row = 0; row < depth; ++row) {
        float *line = to + row * padded;
        for (int64_t done = 0; done < columns;) {
          const int64_t image = (at + done) / pixels, pixel = (at + done) % pixels;
          const int64_t count = std::min(columns - done, pixels - pixel);
          gather(c, maps + image * c.inputs * c.in(), row, pixel, count, line + done);
          done += count;
        }
        std::fill(line + columns, line + padded, 0.0f);
      }
    };
    product_of_panels({w + group * each * depth, depth, 1, depth, 0}, pack,
                      {y + group * each * pixels, pixels, pixels, c.outputs * pixels}, each, c.batch * pixels, depth,
                      bias ? bias + group * each : nullptr, act);
  }
}

void convolution_weight_gradient(const Convolution &c, const float *x, const float *dy, float *dw) {
  const int64_t depth = c.depth(), each = c.outputs / c.groups, pixels = c.out(), padded = round_up(pixels, kLanes);
  // Small maps are few numbers to sum over: as many images go together as the third cache has room for.
  const int64_t together = std::min(c.batch, std::max<int64_t>(1, kWritten / (depth * padded)));
  float *rows = scratch(6, depth * padded * together), *gradient = scratch(7, each * padded * together);
  float *part = scratch(9, each * depth);
  for (int64_t group = 0; group < c.groups; ++group) {
    float *total = dw + group * each * depth;
    std::fill(total, total + each * depth, 0.0f);
    for (int64_t first = 0; first < c.batch; first += together) {
      const int64_t images = std::min(together, c.batch - first), length = images * padded;
      parallel(depth + each, [&](int64_t row) {
        float *line = row < depth ? rows + row * length : gradient + (row - depth) * length;
        for (int64_t i = 0; i < images; ++i, line += padded) {
          const float *maps = x + ((first + i) * c.inputs + group * (c.inputs / c.groups)) * c.in();
          const float *from = dy + ((first + i) * c.outputs + group * each + row - depth) * pixels;
          if (row < depth) gather(c, maps, row, 0, pixels, line);
          else std::copy(from, from + pixels, line);
          std::fill(line + pixels, line + padded, 0.0f);
        }
      });
      dot_rows({gradient, length, 1, padded, padded}, {rows, length, 1, padded, padded}, part, each, depth, length);
      for (int64_t i = 0; i < each * depth; ++i) total[i] += part[i];
    }
  }
}

void convolution_input_gradient(const Convolution &c, const float *w, const float *dy, float *dx) {
  const int64_t depth = c.depth(), each = c.outputs / c.groups, pixels = c.out(), taps = c.kernel_h * c.kernel_w;
  float *products = scratch(6, depth * pixels);
  for (int64_t image = 0; image < c.batch; ++image)
    for (int64_t group = 0; group < c.groups; ++group) {
      product({w + group * each * depth, 1, depth, each, 0},
              {dy + (image * c.outputs + group * each) * pixels, pixels, 1, pixels, 0}, {products, pixels, pixels, 0},
              depth, pixels, each);
      float *maps = dx + (image * c.inputs + group * (c.inputs / c.groups)) * c.in();
      parallel(c.inputs / c.groups, [&](int64_t channel) {
        float *map = maps + channel * c.in();
        std::fill(map, map + c.in(), 0.0f);
        for (int64_t tap = 0; tap < taps; ++tap) {
          const float *from = products + (channel * taps + tap) * pixels;
          const int64_t down = tap / c.kernel_w * c.dilation_h - c.top, right = tap % c.kernel_w * c.dilation_w - c.left;
          // Outputs whose column lies inside the map.
          const int64_t first = right < 0 ? (-right + c.stride_w - 1) / c.stride_w : 0;
          const int64_t last = std::min(c.out_width, (c.width - right + c.stride_w - 1) / c.stride_w);
          for (int64_t y = 0; y < c.out_height; ++y) {
            const int64_t line = y * c.stride_h + down;
            if (line < 0 || line >= c.height) continue;
            float *to = map + line * c.width + right;
            const float *row = from + y * c.out_width;
            if (c.stride_w == 1)
              for (int64_t i = first; i < last; ++i) to[i] += row[i];
            else
              for (int64_t i = first; i < last; ++i) to[i * c.stride_w] += row[i];
          }
        }
      });
    }
}

}  // namespace ghost
