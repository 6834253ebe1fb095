// softmax(scale * q k^T + bias) v of every head, heads joined (Vaswani et al., arXiv 1706.03762, equation 1).
#pragma once

#include <cstdint>

namespace ghost {

// q (B, H, N, D), k and v (B, H, M, D), bias (H, N, M) or none.
struct Attention {
  int64_t batch, heads, queries, keys, depth;
  float scale;
};

// y (B, N, H * D); `weights` (B, H, N, M) receives the softmax for the gradient, unless it is nullptr.
void attention_forward(const Attention &a, const float *q, const float *k, const float *v, const float *bias, float *y,
                       float *weights);

// `dlogits` (B, H, N, M): the gradient of the logits, whose sum over the batch is that of the bias.
void attention_backward(const Attention &a, const float *q, const float *k, const float *v, const float *weights,
                        const float *dy, float *dq, float *dk, float *dv, float *dlogits);

}  // namespace ghost
