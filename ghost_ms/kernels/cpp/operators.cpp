// What MindSpore calls: inputs, then outputs, as pointers and shapes; see `Custom`, func_type "aot". An operator's
// constants come as its last input, int32 or float32. Shapes were checked by kernels/ops.py when the graph was built.
#include <algorithm>
#include <cmath>
#include <cstdint>

#include "activation.hpp"
#include "attention.hpp"
#include "convolution.hpp"
#include "depthwise.hpp"
#include "norm.hpp"
#include "product.hpp"
#include "rows.hpp"
#include "threads.hpp"

namespace {

// MindSpore raises where an operator does not return 0.
constexpr int kUnknownActivation = 1;

struct Call {
  void **params;
  int *ndims;
  int64_t **shapes;

  float *f(int i) const { return static_cast<float *>(params[i]); }
  int32_t *ints(int i) const { return static_cast<int32_t *>(params[i]); }
  int64_t dim(int i, int axis) const { return shapes[i][axis]; }
  int64_t size(int i, int from = 0, int to = -1) const {
    int64_t product = 1;
    for (int axis = from; axis < (to < 0 ? ndims[i] : to); ++axis) product *= shapes[i][axis];
    return product;
  }
};

}  // namespace

#define GHOST_OPERATOR(name)                                                                                         \
  static int name##_call(const Call &c);                                                                             \
  extern "C" int ghost_##name(int, void **params, int *ndims, int64_t **shapes, const char **, void *, void *) {      \
    return name##_call(Call{params, ndims, shapes});                                                                 \
  }                                                                                                                  \
  static int name##_call(const Call &c)

// --- 1x1 convolution: x (B, I, H, W), w (O, I, 1, 1) -> (B, O, H, W) ---

GHOST_OPERATOR(pointwise) {
  const int64_t batch = c.dim(0, 0), in = c.dim(0, 1), pixels = c.size(0, 2), out = c.dim(1, 0);
  ghost::product({c.f(1), in, 1, in, 0}, {c.f(0), pixels, 1, pixels, in * pixels},
                 {c.f(2), pixels, pixels, out * pixels}, out, batch * pixels, in);
  return 0;
}

GHOST_OPERATOR(pointwise_bias) {
  const int64_t batch = c.dim(0, 0), in = c.dim(0, 1), pixels = c.size(0, 2), out = c.dim(1, 0);
  ghost::product({c.f(1), in, 1, in, 0}, {c.f(0), pixels, 1, pixels, in * pixels},
                 {c.f(3), pixels, pixels, out * pixels}, out, batch * pixels, in, c.f(2));
  return 0;
}

// x, w, bias, activation -> y
GHOST_OPERATOR(pointwise_act) {
  const int64_t batch = c.dim(0, 0), in = c.dim(0, 1), pixels = c.size(0, 2), out = c.dim(1, 0);
  ghost::product({c.f(1), in, 1, in, 0}, {c.f(0), pixels, 1, pixels, in * pixels},
                 {c.f(4), pixels, pixels, out * pixels}, out, batch * pixels, in, c.f(2), c.ints(3)[0]);
  return ghost::known(c.ints(3)[0]) ? 0 : kUnknownActivation;
}

// x, w, dy -> dx, dw
GHOST_OPERATOR(pointwise_backward) {
  const int64_t batch = c.dim(0, 0), in = c.dim(0, 1), pixels = c.size(0, 2), out = c.dim(1, 0);
  const float *x = c.f(0), *w = c.f(1), *dy = c.f(2);
  ghost::product({w, 1, in, out, 0}, {dy, pixels, 1, pixels, out * pixels}, {c.f(3), pixels, pixels, in * pixels}, in,
                 batch * pixels, out);
  if (pixels == 1)
    ghost::product({dy, 1, out, batch, 0}, {x, in, 1, in, 0}, {c.f(4), in, in, 0}, out, in, batch);
  else
    ghost::dot_rows({dy, pixels, 1, pixels, out * pixels}, {x, pixels, 1, pixels, in * pixels}, c.f(4), out, in,
                    batch * pixels);
  return 0;
}

// --- Any convolution; constants as of a depthwise one, then the number of groups ---

static ghost::Convolution convolution_of(const Call &c, int x, int w, int y, int constants) {
  const int32_t *k = c.ints(constants);
  return {c.dim(x, 0), c.dim(x, 1), c.dim(w, 0), k[6], c.dim(x, 2), c.dim(x, 3), c.dim(y, 2), c.dim(y, 3),
          c.dim(w, 2), c.dim(w, 3), k[0], k[1], k[2], k[3], k[4], k[5]};
}

// x, w, constants -> y
GHOST_OPERATOR(convolution) {
  ghost::convolution_forward(convolution_of(c, 0, 1, 3, 2), c.f(0), c.f(1), nullptr, c.f(3));
  return 0;
}

// x, w, bias, constants -> y
GHOST_OPERATOR(convolution_bias) {
  ghost::convolution_forward(convolution_of(c, 0, 1, 4, 3), c.f(0), c.f(1), c.f(2), c.f(4));
  return 0;
}

// x, w, bias, constants, activation -> y
GHOST_OPERATOR(convolution_act) {
  ghost::convolution_forward(convolution_of(c, 0, 1, 5, 3), c.f(0), c.f(1), c.f(2), c.f(5), c.ints(4)[0]);
  return ghost::known(c.ints(4)[0]) ? 0 : kUnknownActivation;
}

// x, w, dy, constants -> dx
GHOST_OPERATOR(convolution_input_gradient) {
  ghost::convolution_input_gradient(convolution_of(c, 0, 1, 2, 3), c.f(1), c.f(2), c.f(4));
  return 0;
}

// x, w, dy, constants -> dw
GHOST_OPERATOR(convolution_weight_gradient) {
  ghost::convolution_weight_gradient(convolution_of(c, 0, 1, 2, 3), c.f(0), c.f(2), c.f(4));
  return 0;
}

// --- Depthwise convolution; constants: stride, top and left padding, dilation, each (vertical, horizontal) ---

static ghost::Depthwise depthwise_of(const Call &c, int y, int constants) {
  const int32_t *k = c.ints(constants);
  return {c.dim(0, 0), c.dim(1, 0), c.dim(0, 2), c.dim(0, 3), c.dim(y, 2), c.dim(y, 3), c.dim(1, 2), c.dim(1, 3),
          k[0], k[1], k[2], k[3], k[4], k[5], c.size(0, 1), c.size(y, 1), c.dim(1, 1)};
}

// x, w, constants -> y
GHOST_OPERATOR(depthwise) {
  ghost::depthwise_forward(depthwise_of(c, 3, 2), c.f(0), c.f(1), nullptr, c.f(3));
  return 0;
}

// x, w, bias, constants -> y
GHOST_OPERATOR(depthwise_bias) {
  ghost::depthwise_forward(depthwise_of(c, 4, 3), c.f(0), c.f(1), c.f(2), c.f(4));
  return 0;
}

// x, w, bias, constants, activation -> y
GHOST_OPERATOR(depthwise_act) {
  ghost::depthwise_forward(depthwise_of(c, 5, 3), c.f(0), c.f(1), c.f(2), c.f(5), c.ints(4)[0]);
  return ghost::known(c.ints(4)[0]) ? 0 : kUnknownActivation;
}

// x, w, dy, constants -> dx, dw
GHOST_OPERATOR(depthwise_backward) {
  ghost::depthwise_backward(depthwise_of(c, 2, 3), c.f(0), c.f(1), c.f(2), c.f(4), c.f(5), nullptr);
  return 0;
}

// --- BatchNorm; constants: activation (as int32 bits apart), epsilon, share of the moving statistics that stays ---

static ghost::Maps maps_of(const Call &c) { return {c.dim(0, 0), c.dim(0, 1), c.size(0, 2)}; }

// x, gamma, beta, moving mean and variance, (epsilon, keep), activation -> y, mean, inverse deviation
GHOST_OPERATOR(norm_train) {
  return ghost::batch_norm_train(maps_of(c), c.ints(6)[0], c.f(5)[0], c.f(5)[1], c.f(0), c.f(1), c.f(2), c.f(3), c.f(4),
                                 c.f(7), c.f(8), c.f(9)) ? 0 : kUnknownActivation;
}

// x, gamma, beta, mean, inverse, dy, activation -> dx, dgamma, dbeta
GHOST_OPERATOR(norm_backward) {
  return ghost::batch_norm_backward(maps_of(c), c.ints(6)[0], true, c.f(0), c.f(1), c.f(2), c.f(3), c.f(4), c.f(5),
                                    c.f(7), c.f(8), c.f(9)) ? 0 : kUnknownActivation;
}

// x, gamma, beta, mean, variance, (epsilon, -), activation -> y
GHOST_OPERATOR(norm_fixed) {
  return ghost::batch_norm_fixed(maps_of(c), c.ints(6)[0], c.f(5)[0], c.f(0), c.f(1), c.f(2), c.f(3), c.f(4),
                                 c.f(7)) ? 0 : kUnknownActivation;
}

// x, gamma, beta, mean, variance, dy, (epsilon, -), activation -> dx, dgamma, dbeta
GHOST_OPERATOR(norm_fixed_backward) {
  const int64_t channels = c.dim(0, 1);
  float *inverse = ghost::scratch(0, channels);
  for (int64_t i = 0; i < channels; ++i)
    inverse[i] = static_cast<float>(1.0 / std::sqrt(static_cast<double>(c.f(4)[i]) + c.f(6)[0]));
  return ghost::batch_norm_backward(maps_of(c), c.ints(7)[0], false, c.f(0), c.f(1), c.f(2), c.f(3), inverse, c.f(5),
                                    c.f(8), c.f(9), c.f(10)) ? 0 : kUnknownActivation;
}

// --- Ghost module of ratio 2: maps (B, 2 P, H, W), the primary ones first ---

namespace {

// x (B, I, H, W), w1 (P, I, 1, 1), w2 (P, 1, KH, KW); the depthwise half reads and writes in the maps.
ghost::Depthwise cheap_of(const Call &c, int64_t primary, int kernel, int constants, bool whole) {
  const int32_t *k = c.ints(constants);
  const int64_t height = c.dim(0, 2), width = c.dim(0, 3), jump = primary * height * width;
  return {c.dim(0, 0), primary, height, width, height, width, c.dim(kernel, 2), c.dim(kernel, 3), k[0], k[1], k[2],
          k[3], k[4], k[5], 2 * jump, whole ? 2 * jump : jump, 1};
}

}  // namespace

// x, w1, bias1, w2, bias2, constants of the depthwise half and the activation -> maps
GHOST_OPERATOR(module_fixed) {
  const int64_t batch = c.dim(0, 0), in = c.dim(0, 1), pixels = c.size(0, 2), primary = c.dim(1, 0);
  const int act = c.ints(5)[6];
  float *maps = c.f(6);
  ghost::product({c.f(1), in, 1, in, 0}, {c.f(0), pixels, 1, pixels, in * pixels},
                 {maps, pixels, pixels, 2 * primary * pixels}, primary, batch * pixels, in, c.f(2), act);
  ghost::depthwise_forward(cheap_of(c, primary, 3, 5, true), maps, c.f(3), c.f(4), maps + primary * pixels, act);
  return ghost::known(act) ? 0 : kUnknownActivation;
}

// x; w1, gamma1, beta1, moving mean1, variance1; w2, gamma2, beta2, mean2, variance2; (epsilon1, keep1, epsilon2, keep2);
// constants -> maps, first convolution's result, second's, statistics (4, P): mean1, inverse1, mean2, inverse2
GHOST_OPERATOR(module_train) {
  const int64_t batch = c.dim(0, 0), in = c.dim(0, 1), pixels = c.size(0, 2), primary = c.dim(1, 0);
  const int act = c.ints(12)[6];
  const float *numbers = c.f(11);
  float *maps = c.f(13), *first = c.f(14), *second = c.f(15), *mean = c.f(16), *inverse = mean + primary;
  float *mean2 = inverse + primary, *inverse2 = mean2 + primary;
  ghost::product({c.f(1), in, 1, in, 0}, {c.f(0), pixels, 1, pixels, in * pixels},
                 {first, pixels, pixels, primary * pixels}, primary, batch * pixels, in);
  const ghost::Depthwise d = cheap_of(c, primary, 6, 12, false);
  const ghost::Channel norm{batch, pixels, primary * pixels, 2 * primary * pixels, 0};
  const int64_t each = d.group();
  // All that follows concerns one channel at a time, whose maps then are in the cache for it.
  ghost::parallel((primary + each - 1) / each, [&](int64_t task) {
    const int64_t begin = task * each, end = std::min(primary, begin + each);
    for (int64_t p = begin; p < end; ++p)
      ghost::channel_train(norm, act, numbers[0], numbers[1], first + p * pixels, c.f(2)[p], c.f(3)[p], c.f(4) + p,
                           c.f(5) + p, maps + p * pixels, mean + p, inverse + p);
    ghost::group_forward(d, end - begin, maps + begin * pixels, c.f(6) + begin * d.taps(), nullptr,
                         second + begin * pixels);
    for (int64_t p = begin; p < end; ++p)
      ghost::channel_train(norm, act, numbers[2], numbers[3], second + p * pixels, c.f(7)[p], c.f(8)[p], c.f(9) + p,
                           c.f(10) + p, maps + (primary + p) * pixels, mean2 + p, inverse2 + p);
  });
  return ghost::known(act) ? 0 : kUnknownActivation;
}

// x, w1, gamma1, beta1, w2, gamma2, beta2, first, second, statistics, maps, dmaps, constants
// -> dx, dw1, dgamma1, dbeta1, dw2, dgamma2, dbeta2
GHOST_OPERATOR(module_backward) {
  const int64_t batch = c.dim(0, 0), in = c.dim(0, 1), pixels = c.size(0, 2), primary = c.dim(1, 0);
  const int act = c.ints(12)[6];
  const float *x = c.f(0), *w = c.f(1), *first = c.f(7), *second = c.f(8), *mean = c.f(9), *inverse = mean + primary;
  const float *mean2 = inverse + primary, *inverse2 = mean2 + primary, *maps = c.f(10), *dmaps = c.f(11);
  float *dfirst = ghost::scratch(8, batch * primary * pixels);
  ghost::Depthwise d = cheap_of(c, primary, 4, 12, false);
  const int64_t each = d.group();
  ghost::parallel((primary + each - 1) / each, [&](int64_t task) {
    const int64_t begin = task * each, end = std::min(primary, begin + each), jump = (end - begin) * pixels;
    float *dsecond = ghost::scratch(6, batch * jump), *dprimary = ghost::scratch(7, batch * jump);
    for (int64_t p = begin; p < end; ++p)
      ghost::channel_backward({batch, pixels, primary * pixels, 2 * primary * pixels, jump}, act, true,
                              second + p * pixels, c.f(5)[p], c.f(6)[p], mean2[p], inverse2[p],
                              dmaps + (primary + p) * pixels, dsecond + (p - begin) * pixels, c.f(18) + p, c.f(19) + p);
    ghost::Depthwise one = d;
    one.y_jump = jump;
    ghost::group_backward(one, end - begin, maps + begin * pixels, c.f(4) + begin * d.taps(), dsecond, dprimary, jump,
                          c.f(17) + begin * d.taps(), nullptr);
    for (int64_t b = 0; b < batch; ++b) {
      const float *direct = dmaps + (b * 2 * primary + begin) * pixels;
      for (int64_t i = 0; i < jump; ++i) dprimary[b * jump + i] += direct[i];
    }
    for (int64_t p = begin; p < end; ++p)
      ghost::channel_backward({batch, pixels, primary * pixels, jump, primary * pixels}, act, true,
                              first + p * pixels, c.f(2)[p], c.f(3)[p], mean[p], inverse[p],
                              dprimary + (p - begin) * pixels, dfirst + p * pixels, c.f(15) + p, c.f(16) + p);
  });
  ghost::product({w, 1, in, primary, 0}, {dfirst, pixels, 1, pixels, primary * pixels},
                 {c.f(13), pixels, pixels, in * pixels}, in, batch * pixels, primary);
  ghost::dot_rows({dfirst, pixels, 1, pixels, primary * pixels}, {x, pixels, 1, pixels, in * pixels}, c.f(14), primary,
                  in, batch * pixels);
  return ghost::known(act) ? 0 : kUnknownActivation;
}

// --- Elementwise; constants: activation ---

// x, activation -> y
GHOST_OPERATOR(act) { return ghost::elementwise(c.ints(1)[0], c.size(0), c.f(0), c.f(2)) ? 0 : kUnknownActivation; }

// x, dy, activation -> dx
GHOST_OPERATOR(act_backward) {
  return ghost::elementwise_backward(c.ints(2)[0], c.size(0), c.f(0), c.f(1), c.f(3)) ? 0 : kUnknownActivation;
}

// --- Squeeze-and-excitation: means of maps, and maps times a gate ---

// x (B, C, H, W) -> (B, C, 1, 1)
GHOST_OPERATOR(mean) {
  ghost::mean_forward(c.size(0, 0, 2), c.size(0, 2), c.f(0), c.f(1));
  return 0;
}

// x, dy -> dx
GHOST_OPERATOR(mean_backward) {
  ghost::mean_backward(c.size(0, 0, 2), c.size(0, 2), c.f(1), c.f(2));
  return 0;
}

// x, gate -> y
GHOST_OPERATOR(gate) {
  ghost::gate_forward(c.size(0, 0, 2), c.size(0, 2), c.f(0), c.f(1), c.f(2));
  return 0;
}

// x, gate, dy -> dx, dgate
GHOST_OPERATOR(gate_backward) {
  ghost::gate_backward(c.size(0, 0, 2), c.size(0, 2), c.f(0), c.f(1), c.f(2), c.f(3), c.f(4));
  return 0;
}

// --- Along the last axis ---

// x (..., I), w (O, I) -> (..., O)
GHOST_OPERATOR(dense) {
  const int64_t in = c.dim(1, 1), out = c.dim(1, 0), rows = c.size(0) / in;
  ghost::product({c.f(0), in, 1, in, 0}, {c.f(1), 1, in, out, 0}, {c.f(2), out, out, 0}, rows, out, in);
  return 0;
}

// x, w, dy -> dx, dw, dbias
GHOST_OPERATOR(dense_backward) {
  const int64_t in = c.dim(1, 1), out = c.dim(1, 0), rows = c.size(0) / in;
  const float *dy = c.f(2);
  ghost::product({dy, out, 1, out, 0}, {c.f(1), in, 1, in, 0}, {c.f(3), in, in, 0}, rows, in, out);
  ghost::product({dy, 1, out, rows, 0}, {c.f(0), in, 1, in, 0}, {c.f(4), in, in, 0}, out, in, rows);
  ghost::column_sums(rows, out, dy, c.f(5));
  return 0;
}

// x, w, bias -> y
GHOST_OPERATOR(dense_bias) {
  const int64_t in = c.dim(1, 1), out = c.dim(1, 0), rows = c.size(0) / in;
  ghost::product({c.f(0), in, 1, in, 0}, {c.f(1), 1, in, out, 0}, {c.f(3), out, out, 0}, rows, out, in);
  ghost::add_to_rows(rows, out, c.f(2), c.f(3));
  return 0;
}

// x, gamma, beta, (epsilon) -> y, mean, inverse deviation
GHOST_OPERATOR(layer_norm) {
  const int64_t length = c.size(1);
  ghost::layer_norm_forward(c.size(0) / length, length, c.f(3)[0], c.f(0), c.f(1), c.f(2), c.f(4), c.f(5), c.f(6));
  return 0;
}

// x, gamma, mean, inverse, dy -> dx, dgamma, dbeta
GHOST_OPERATOR(layer_norm_backward) {
  const int64_t length = c.size(1);
  ghost::layer_norm_backward(c.size(0) / length, length, c.f(0), c.f(1), c.f(2), c.f(3), c.f(4), c.f(5), c.f(6),
                             c.f(7));
  return 0;
}

// x -> y
GHOST_OPERATOR(softmax) {
  const int64_t length = c.dim(0, c.ndims[0] - 1);
  ghost::softmax_forward(c.size(0) / length, length, c.f(0), c.f(1));
  return 0;
}

// y, dy -> dx
GHOST_OPERATOR(softmax_backward) {
  const int64_t length = c.dim(0, c.ndims[0] - 1);
  ghost::softmax_backward(c.size(0) / length, length, c.f(0), c.f(1), c.f(2));
  return 0;
}

// x, k numbers that say nothing but their number -> indices
GHOST_OPERATOR(top_k) {
  const int64_t length = c.dim(0, c.ndims[0] - 1), k = c.dim(1, 0);
  ghost::top_k(c.size(0) / length, length, k, c.f(0), c.ints(2));
  return 0;
}

// --- Attention; constants: scale ---

static ghost::Attention attention_of(const Call &c, int constants) {
  return {c.dim(0, 0), c.dim(0, 1), c.dim(0, 2), c.dim(1, 2), c.dim(0, 3), c.f(constants)[0]};
}

// q, k, v, scale -> y, weights
GHOST_OPERATOR(attention) {
  ghost::attention_forward(attention_of(c, 3), c.f(0), c.f(1), c.f(2), nullptr, c.f(4), c.f(5));
  return 0;
}

// q, k, v, bias, scale -> y, weights
GHOST_OPERATOR(attention_bias) {
  ghost::attention_forward(attention_of(c, 4), c.f(0), c.f(1), c.f(2), c.f(3), c.f(5), c.f(6));
  return 0;
}

// q, k, v, weights, dy, scale -> dq, dk, dv, dlogits
GHOST_OPERATOR(attention_backward) {
  ghost::attention_backward(attention_of(c, 5), c.f(0), c.f(1), c.f(2), c.f(3), c.f(4), c.f(6), c.f(7), c.f(8), c.f(9));
  return 0;
}
