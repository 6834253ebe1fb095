// Activations and their slopes, written so that the compiler makes vectors of them: no branch, no call. A NaN stays one.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace ghost {

// Numbered as in kernels/ops.py.
enum class Act : int { kNone, kRelu, kRelu6, kHswish, kHsigmoid, kSilu, kSigmoid, kGelu, kSin, kCos };

// Polynomials are least-maximum fits over the interval named; their error is below half a unit of a float's last place.

// e^x = 2^n * e^r with |r| <= log(2) / 2.
inline float exp_of(float x) {
  x = x > 88.0f ? 88.0f : x;
  x = x < -87.0f ? -87.0f : x;
  const float n = std::nearbyint(x * 1.44269504f);
  // log(2) in two parts, so that n times the first is exact.
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9918347e-4f;
  p = p * r + 1.3946065e-3f;
  p = p * r + 8.3332649e-3f;
  p = p * r + 4.16662694e-2f;
  p = p * r + 0.166666672f;
  p = p * r + 0.5f;
  p = p * r * r + r + 1.0f;
  const int32_t bits = (static_cast<int32_t>(n) + 127) << 23;
  float power;
  std::memcpy(&power, &bits, sizeof(power));
  return p * power;
}

inline float sigmoid_of(float x) { return 1.0f / (1.0f + exp_of(-x)); }

// The normal distribution's share below x, from erfc(a) = e^(-a^2) t P(t), t = 1 / (1 + a / 2), a = |x| / sqrt(2): of
// full relative precision below 0 too, where 1 + erf would cancel. `bell` is e^(-x^2 / 2).
inline float normal_share(float x, float bell) {
  const float a = std::fabs(x) * 0.707106781f;
  const float t = 1.0f / (1.0f + 0.5f * a);
  float p = 0.012283610f;
  p = p * t - 0.123253346f;
  p = p * t + 0.428925493f;
  p = p * t - 0.670018927f;
  p = p * t + 0.421271611f;
  p = p * t - 0.0983163615f;
  p = p * t + 0.225541467f;
  p = p * t + 0.238644907f;
  p = p * t + 0.282857029f;
  p = p * t + 0.282064499f;
  const float tail = 0.5f * bell * t * p;
  return x > 0.0f ? 1.0f - tail : tail;
}

// sin and cos by the remainder of pi / 2, taken in double: precise up to |x| of 1e8.
inline float wave(float x, int32_t quarter) {
  const double turns = std::nearbyint(x * 0.63661977236758134);
  const float r = static_cast<float>(x - turns * 1.5707963267948966);
  const float z = r * r;
  const float sine = r + r * z * (-0.166666672f + z * (8.33332911e-3f + z * (-1.98393347e-4f + z * 2.71831163e-6f)));
  const float cosine =
      1.0f - 0.5f * z + z * z * (4.16666679e-2f + z * (-1.38888834e-3f + z * (2.47995195e-5f - z * 2.72102369e-7f)));
  const int32_t n = static_cast<int32_t>(turns) + quarter;
  const float value = (n & 1) ? cosine : sine;
  return (n & 2) ? -value : value;
}

template <Act act>
inline float apply(float x) {
  if constexpr (act == Act::kRelu) return x < 0.0f ? 0.0f : x;
  else if constexpr (act == Act::kRelu6) return x < 0.0f ? 0.0f : x > 6.0f ? 6.0f : x;
  else if constexpr (act == Act::kHsigmoid) return apply<Act::kRelu6>(x + 3.0f) * (1.0f / 6.0f);
  else if constexpr (act == Act::kHswish) return x * apply<Act::kHsigmoid>(x);
  else if constexpr (act == Act::kSigmoid) return sigmoid_of(x);
  else if constexpr (act == Act::kSilu) return x * sigmoid_of(x);
  else if constexpr (act == Act::kGelu) return x * normal_share(x, exp_of(-0.5f * x * x));
  else if constexpr (act == Act::kSin) return wave(x, 0);
  else if constexpr (act == Act::kCos) return wave(x, 1);
  else return x;
}

// dy times the derivative at x.
template <Act act>
inline float slope(float x, float dy) {
  if constexpr (act == Act::kRelu) return x > 0.0f ? dy : 0.0f;
  else if constexpr (act == Act::kRelu6) return x > 0.0f && x < 6.0f ? dy : 0.0f;
  else if constexpr (act == Act::kHsigmoid) return x > -3.0f && x < 3.0f ? dy * (1.0f / 6.0f) : 0.0f;
  else if constexpr (act == Act::kHswish)
    return x <= -3.0f ? 0.0f : x >= 3.0f ? dy : dy * (x * (1.0f / 3.0f) + 0.5f);
  else if constexpr (act == Act::kSigmoid) {
    const float s = sigmoid_of(x);
    return dy * s * (1.0f - s);
  } else if constexpr (act == Act::kSilu) {
    const float s = sigmoid_of(x);
    return dy * s * (1.0f + x * (1.0f - s));
  } else if constexpr (act == Act::kGelu) {
    const float bell = exp_of(-0.5f * x * x);
    return dy * (normal_share(x, bell) + x * 0.398942280f * bell);
  } else if constexpr (act == Act::kSin) return dy * wave(x, 1);
  else if constexpr (act == Act::kCos) return -dy * wave(x, 0);
  else return dy;
}

// Calls body with the activation as a constant of the compiler's.
template <typename Body>
inline bool with_act(int act, Body &&body) {
  switch (static_cast<Act>(act)) {
#define GHOST_CASE(name) \
  case Act::name:        \
    body(std::integral_constant<Act, Act::name>{}); \
    return true;
    GHOST_CASE(kNone)
    GHOST_CASE(kRelu)
    GHOST_CASE(kRelu6)
    GHOST_CASE(kHswish)
    GHOST_CASE(kHsigmoid)
    GHOST_CASE(kSilu)
    GHOST_CASE(kSigmoid)
    GHOST_CASE(kGelu)
    GHOST_CASE(kSin)
    GHOST_CASE(kCos)
#undef GHOST_CASE
  }
  return false;
}

inline bool known(int act) {
  return with_act(act, [](auto) {});
}

}  // namespace ghost
