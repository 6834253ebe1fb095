// A vector of floats as wide as the processor's registers, in the compiler's own type: the same source becomes AVX2,
// AVX-512 or NEON, and no instruction is named.
#pragma once

#include <cstdint>

namespace ghost {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
constexpr int kRegisters = 32;
#elif defined(__AVX__)
constexpr int kLanes = 8;
constexpr int kRegisters = 16;
#else
constexpr int kLanes = 4;
constexpr int kRegisters = sizeof(void *) == 8 ? 32 : 16;
#endif

// Memory is aligned to floats alone: a row of a map begins anywhere.
typedef float Vector __attribute__((vector_size(kLanes * sizeof(float)), aligned(sizeof(float)), may_alias));

inline Vector load(const float *from) { return *reinterpret_cast<const Vector *>(from); }
inline void store(float *to, Vector value) { *reinterpret_cast<Vector *>(to) = value; }
inline Vector splat(float value) { return value - Vector{}; }

// The lanes' sum, always halves first: an order that no compiler changes.
inline float sum(Vector value) {
  float lane[kLanes];
  store(lane, value);
  for (int half = kLanes / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) lane[i] += lane[i + half];
  return lane[0];
}

inline int64_t round_up(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

}  // namespace ghost
