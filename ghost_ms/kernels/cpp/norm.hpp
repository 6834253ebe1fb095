// BatchNorm of (B, C, HW) with an activation behind it, and its gradients.
#pragma once

#include <cstdint>

namespace ghost {

struct Maps {
  int64_t batch, channels, pixels;
};

// Statistics of the batch; `moving_*` become keep * moving + (1 - keep) * batch's, the variance made unbiased.
bool batch_norm_train(const Maps &s, int act, float epsilon, float keep, const float *x, const float *gamma,
                      const float *beta, float *moving_mean, float *moving_variance, float *y, float *mean,
                      float *inverse);

// With the statistics given.
bool batch_norm_fixed(const Maps &s, int act, float epsilon, const float *x, const float *gamma, const float *beta,
                      const float *mean, const float *variance, float *y);

// `through_statistics`: mean and inverse depend on x, as in training.
bool batch_norm_backward(const Maps &s, int act, bool through_statistics, const float *x, const float *gamma,
                         const float *beta, const float *mean, const float *inverse, const float *dy, float *dx,
                         float *dgamma, float *dbeta);

}  // namespace ghost
