// What works along rows: elementwise functions, LayerNorm, softmax, means of maps and the gates of channels, top-k.
#pragma once

#include <cstdint>

namespace ghost {

bool elementwise(int act, int64_t count, const float *x, float *y);
bool elementwise_backward(int act, int64_t count, const float *x, const float *dy, float *dx);

void mean_forward(int64_t rows, int64_t length, const float *x, float *y);
void mean_backward(int64_t rows, int64_t length, const float *dy, float *dx);

// Rows of x times a number each: the gate of squeeze-and-excitation.
void gate_forward(int64_t rows, int64_t length, const float *x, const float *gate, float *y);
void gate_backward(int64_t rows, int64_t length, const float *x, const float *gate, const float *dy, float *dx,
                   float *dgate);

void layer_norm_forward(int64_t rows, int64_t length, float epsilon, const float *x, const float *gamma,
                        const float *beta, float *y, float *mean, float *inverse);
void layer_norm_backward(int64_t rows, int64_t length, const float *x, const float *gamma, const float *mean,
                         const float *inverse, const float *dy, float *dx, float *dgamma, float *dbeta);

void softmax_forward(int64_t rows, int64_t length, const float *x, float *y);
void softmax_backward(int64_t rows, int64_t length, const float *y, const float *dy, float *dx);

// The same by the calling thread alone; x and y may be the same.
void softmax_rows(int64_t rows, int64_t length, const float *x, float *y);
void softmax_rows_backward(int64_t rows, int64_t length, const float *y, const float *dy, float *dx);

// Where the k greatest of every row are, greatest first, of equals the first; a NaN counts as the greatest.
void top_k(int64_t rows, int64_t length, int64_t k, const float *x, int32_t *indices);

// out[i] = sum over rows of x[row][i].
void column_sums(int64_t rows, int64_t length, const float *x, float *out);
void add_to_rows(int64_t rows, int64_t length, const float *addend, float *x);

}  // namespace ghost
