// Matrix products in float32.
#pragma once

#include <cstdint>
#include <functional>

namespace ghost {

// A matrix that may lie in memory in pieces, as the images of a batch do: element (row, column) is at
// data + row * row_step + (column / run) * jump + (column % run) * column_step.
struct Matrix {
  const float *data;
  int64_t row_step, column_step, run, jump;
};

struct Target {
  float *data;
  int64_t row_step, run, jump;
};

// target(m, n) = sum over k of a(m, k) * b(k, n), plus bias[m] where there is one, then the activation (`Act`). `a` may
// be transposed by its steps.
void product(const Matrix &a, const Matrix &b, const Target &target, int64_t m, int64_t n, int64_t k,
             const float *bias = nullptr, int act = 0);

// Fills columns [at, at + columns) of a right-hand side that lies nowhere, as [k][padded], with zeros beyond `columns`.
using Pack = std::function<void(int64_t at, int64_t columns, int64_t padded, float *to)>;

// `product` with such a right-hand side.
void product_of_panels(const Matrix &a, const Pack &pack, const Target &target, int64_t m, int64_t n, int64_t k,
                       const float *bias, int act);

// `product` by the calling thread alone, for a task among many.
void product_here(const Matrix &a, const Matrix &b, const Target &target, int64_t m, int64_t n, int64_t k);

// out[m][n] = sum over k of a(m, k) * b(n, k): rows against rows, where k is long, as in the gradient of weights.
void dot_rows(const Matrix &a, const Matrix &b, float *out, int64_t m, int64_t n, int64_t k);

}  // namespace ghost
