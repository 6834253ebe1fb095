// BatchNorm of (B, C, HW) with an activation behind it, and its gradients.
#pragma once

#include <cstdint>

namespace ghost {

struct Maps {
  int64_t batch, channels, pixels;
};

// Of one channel; images of x, y and dx lie so many floats apart.
struct Channel {
  int64_t batch, pixels, x_jump, y_jump, dx_jump;
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

// One channel, by the calling thread; all pointers are to what is that channel's.
void channel_train(const Channel &s, int act, float epsilon, float keep, const float *x, float gamma, float beta,
                   float *moving_mean, float *moving_variance, float *y, float *mean, float *inverse);
void channel_backward(const Channel &s, int act, bool through_statistics, const float *x, float gamma, float beta,
                      float mean, float inverse, const float *dy, float *dx, float *dgamma, float *dbeta);

}  // namespace ghost
