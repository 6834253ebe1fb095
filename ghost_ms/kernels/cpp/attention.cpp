// A head of an image is a task: its logits stay in the cache from the first product to the second.
#include "attention.hpp"

#include "product.hpp"
#include "rows.hpp"
#include "threads.hpp"

namespace ghost {

void attention_forward(const Attention &a, const float *q, const float *k, const float *v, const float *bias, float *y,
                       float *weights) {
  const int64_t n = a.queries, m = a.keys, d = a.depth, all = a.heads * d;
  parallel(a.batch * a.heads, [&](int64_t task) {
    const int64_t head = task % a.heads;
    float *logits = weights ? weights + task * n * m : scratch(3, n * m);
    product_here({q + task * n * d, d, 1, d, 0}, {k + task * m * d, 1, d, m, 0}, {logits, m, m, 0}, n, m, d);
    for (int64_t i = 0; i < n * m; ++i) logits[i] *= a.scale;
    if (bias)
      for (int64_t i = 0; i < n * m; ++i) logits[i] += bias[head * n * m + i];
    softmax_rows(n, m, logits, logits);
    product_here({logits, m, 1, m, 0}, {v + task * m * d, d, 1, d, 0},
                 {y + task / a.heads * n * all + head * d, all, d, 0}, n, d, m);
  });
}

void attention_backward(const Attention &a, const float *q, const float *k, const float *v, const float *weights,
                        const float *dy, float *dq, float *dk, float *dv, float *dlogits) {
  const int64_t n = a.queries, m = a.keys, d = a.depth, all = a.heads * d;
  parallel(a.batch * a.heads, [&](int64_t task) {
    const float *p = weights + task * n * m, *out = dy + task / a.heads * n * all + task % a.heads * d;
    float *ds = dlogits + task * n * m, *scaled = scratch(3, n * m);
    product_here({p, 1, m, n, 0}, {out, all, 1, d, 0}, {dv + task * m * d, d, d, 0}, m, d, n);
    product_here({out, all, 1, d, 0}, {v + task * m * d, 1, d, m, 0}, {scaled, m, m, 0}, n, m, d);
    softmax_rows_backward(n, m, p, scaled, ds);
    for (int64_t i = 0; i < n * m; ++i) scaled[i] = a.scale * ds[i];
    product_here({scaled, m, 1, m, 0}, {k + task * m * d, d, 1, d, 0}, {dq + task * n * d, d, d, 0}, n, d, m);
    product_here({scaled, 1, m, n, 0}, {q + task * n * d, d, 1, d, 0}, {dk + task * m * d, d, d, 0}, m, d, n);
  });
}

}  // namespace ghost
