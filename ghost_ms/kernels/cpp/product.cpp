// Products by blocks of registers: a tile of kRows x (kWide vectors) of the result stays in them while k runs, so that
// every number loaded is used kRows or kWide times. Packing brings what a tile reads into the order that it reads it.
#include "product.hpp"

#include <algorithm>
#include <type_traits>

#include "activation.hpp"
#include "threads.hpp"
#include "vector.hpp"

namespace ghost {
namespace {

// As many as fit beside a row of b and one broadcast: 8 x 3 of AVX-512's 32 registers, 6 x 2 of AVX2's 16.
constexpr int kRows = kRegisters == 32 ? 8 : 6;
constexpr int kWide = kRegisters == 32 ? 3 : 2;
constexpr int kPanel = kWide * kLanes;
// Columns that a task packs and multiplies at once are of one panel; a slice of k keeps it in the cache of a core.
constexpr int64_t kDeep = 512;

// Rows [block, block + kRows) of a as [k][kRows], zeros below the last.
void pack_block(const Matrix &a, int64_t block, int64_t m, int64_t k, float *to) {
  const int64_t rows = std::min<int64_t>(kRows, m - block);
  const float *from = a.data + block * a.row_step;
  const bool whole = a.run >= k;
  if (whole && a.row_step == 1 && rows == kRows) {
    for (int64_t i = 0; i < k; ++i)
      for (int64_t r = 0; r < kRows; ++r) to[i * kRows + r] = from[i * a.column_step + r];
    return;
  }
  for (int64_t r = 0; r < kRows; ++r) {
    const float *row = from + r * a.row_step;
    if (r >= rows)
      for (int64_t i = 0; i < k; ++i) to[i * kRows + r] = 0;
    else if (whole)
      for (int64_t i = 0; i < k; ++i) to[i * kRows + r] = row[i * a.column_step];
    else
      for (int64_t i = 0; i < k; ++i) to[i * kRows + r] = row[i / a.run * a.jump + i % a.run * a.column_step];
  }
}

// Columns [at, at + columns) of b as [k][padded], padded to whole vectors with zeros.
void pack_columns(const Matrix &b, int64_t at, int64_t columns, int64_t padded, int64_t k, float *packed) {
  for (int64_t i = 0; i < k; ++i)
    for (int64_t j = columns; j < padded; ++j) packed[i * padded + j] = 0;
  for (int64_t j = 0; j < columns;) {
    const int64_t column = at + j, inside = column % b.run;
    const int64_t length = std::min(columns - j, b.run - inside);
    const float *from = b.data + column / b.run * b.jump + inside * b.column_step;
    float *to = packed + j;
    if (b.column_step == 1) {
      if (length == kPanel)
        for (int64_t i = 0; i < k; ++i)
          for (int v = 0; v < kWide; ++v)
            store(to + i * padded + v * kLanes, load(from + i * b.row_step + v * kLanes));
      else
        for (int64_t i = 0; i < k; ++i)
          for (int64_t c = 0; c < length; ++c) to[i * padded + c] = from[i * b.row_step + c];
    } else {
      for (int64_t c = 0; c < length; ++c)
        for (int64_t i = 0; i < k; ++i) to[i * padded + c] = from[i * b.row_step + c * b.column_step];
    }
    j += length;
  }
}

template <int kVectors>
void tile(const float *a, const float *b, int64_t k, float (*out)[kPanel], bool first) {
  Vector sums[kRows][kVectors];
  for (int r = 0; r < kRows; ++r)
    for (int v = 0; v < kVectors; ++v) sums[r][v] = first ? Vector{} : load(&out[r][v * kLanes]);
  for (int64_t i = 0; i < k; ++i) {
    Vector row[kVectors];
    for (int v = 0; v < kVectors; ++v) row[v] = load(b + v * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 3
      for (int v = 0; v < kVectors; ++v) sums[r][v] += a[r] * row[v];
    a += kRows;
    b += kVectors * kLanes;
  }
  for (int r = 0; r < kRows; ++r)
    for (int v = 0; v < kVectors; ++v) store(&out[r][v * kLanes], sums[r][v]);
}

// One panel of columns, rows [begin, end); `pack` fills it.
template <typename Pack>
void panel(const float *packed_a, Pack &&pack, const Target &target, int64_t begin, int64_t end, int64_t k, int64_t at,
           int64_t columns, const float *bias, int act) {
  const int vectors = static_cast<int>((columns + kLanes - 1) / kLanes);
  const int64_t padded = vectors * kLanes;
  float *packed_b = scratch(1, k * kPanel);
  pack(at, columns, padded, packed_b);
  for (int64_t block = begin; block < end; block += kRows) {
    float out[kRows][kPanel];
    const float *rows = packed_a + block * k;
    for (int64_t deep = 0; deep < k; deep += kDeep) {
      const int64_t length = std::min(kDeep, k - deep);
      const float *left = rows + deep * kRows, *right = packed_b + deep * padded;
      if (vectors == 3) tile<kWide>(left, right, length, out, deep == 0);
      else if (vectors == 2) tile<2>(left, right, length, out, deep == 0);
      else tile<1>(left, right, length, out, deep == 0);
    }
    const int64_t count = std::min<int64_t>(kRows, end - block);
    for (int64_t j = 0; j < columns;) {
      const int64_t column = at + j, inside = column % target.run;
      const int64_t length = std::min(columns - j, target.run - inside);
      float *to = target.data + column / target.run * target.jump + inside + block * target.row_step;
      for (int64_t r = 0; r < count; ++r) {
        const float add = bias ? bias[block + r] : 0.0f;
        float *row = to + r * target.row_step;
        with_act(act, [&](auto kind) {
          for (int64_t c = 0; c < length; ++c) row[c] = apply<decltype(kind)::value>(out[r][j + c] + add);
        });
      }
      j += length;
    }
  }
}

// Tasks of a product: panels of about equal width, and where these are few, blocks of rows beside them.
template <typename Pack>
void panels(const float *packed, Pack &&pack, const Target &target, int64_t m, int64_t n, int64_t k, const float *bias,
            int act) {
  constexpr int64_t kTasks = 8;
  const int64_t vectors = (n + kLanes - 1) / kLanes, count = (vectors + kWide - 1) / kWide;
  const int64_t width = (vectors + count - 1) / count * kLanes, across = (n + width - 1) / width;
  const int64_t blocks = (m + kRows - 1) / kRows;
  const int64_t parts = across >= kTasks ? 1 : std::min(blocks, (kTasks + across - 1) / across);
  const int64_t rows = (blocks + parts - 1) / parts * kRows;
  parallel(across * parts, [&](int64_t task) {
    const int64_t begin = task / across * rows, at = task % across * width;
    if (begin < m)
      panel(packed, pack, target, begin, std::min(m, begin + rows), k, at, std::min(width, n - at), bias, act);
  });
}

}  // namespace

void product(const Matrix &a, const Matrix &b, const Target &target, int64_t m, int64_t n, int64_t k,
             const float *bias, int act) {
  float *packed = scratch(0, round_up(m, kRows) * k);
  const int64_t blocks = (m + kRows - 1) / kRows;
  // Small ones are packed sooner than a thread is woken.
  const int64_t each = m * k < 16384 ? blocks : 1;
  parallel((blocks + each - 1) / each, [&](int64_t task) {
    for (int64_t block = task * each; block < std::min(blocks, (task + 1) * each); ++block)
      pack_block(a, block * kRows, m, k, packed + block * kRows * k);
  });
  panels(packed, [&](int64_t at, int64_t columns, int64_t padded, float *to) {
    pack_columns(b, at, columns, padded, k, to);
  }, target, m, n, k, bias, act);
}

void product_of_panels(const Matrix &a, const Pack &pack, const Target &target, int64_t m, int64_t n, int64_t k,
                       const float *bias, int act) {
  float *packed = scratch(0, round_up(m, kRows) * k);
  for (int64_t block = 0; block < m; block += kRows) pack_block(a, block, m, k, packed + block * k);
  panels(packed, pack, target, m, n, k, bias, act);
}

void product_here(const Matrix &a, const Matrix &b, const Target &target, int64_t m, int64_t n, int64_t k) {
  float *packed = scratch(2, round_up(m, kRows) * k);
  for (int64_t block = 0; block < m; block += kRows) pack_block(a, block, m, k, packed + block * k);
  const auto pack = [&](int64_t at, int64_t columns, int64_t padded, float *to) {
    pack_columns(b, at, columns, padded, k, to);
  };
  for (int64_t at = 0; at < n; at += kPanel)
    panel(packed, pack, target, 0, m, k, at, std::min<int64_t>(kPanel, n - at), nullptr, 0);
}

namespace {

constexpr int kDotRows = 4;
constexpr int kDotColumns = kRegisters == 32 ? 6 : 2;

// A tile of dot products along rows of `run` floats, a multiple of the vector.
template <int kM, int kN>
void dots(const float *const *a, const float *const *b, int64_t length, Vector (*sums)[kDotColumns]) {
  Vector part[kM][kN];
  for (int i = 0; i < kM; ++i)
    for (int j = 0; j < kN; ++j) part[i][j] = sums[i][j];
  for (int64_t at = 0; at < length; at += kLanes) {
    Vector right[kN];
    for (int j = 0; j < kN; ++j) right[j] = load(b[j] + at);
#pragma GCC unroll 4
    for (int i = 0; i < kM; ++i) {
      const Vector left = load(a[i] + at);
#pragma GCC unroll 6
      for (int j = 0; j < kN; ++j) part[i][j] += left * right[j];
    }
  }
  for (int i = 0; i < kM; ++i)
    for (int j = 0; j < kN; ++j) sums[i][j] = part[i][j];
}

void dots_any(int m, int n, const float *const *a, const float *const *b, int64_t length,
              Vector (*sums)[kDotColumns]) {
  if (m == kDotRows && n == kDotColumns) return dots<kDotRows, kDotColumns>(a, b, length, sums);
  // The rest of a matrix: by rows, which keeps the number of cases small.
  for (int i = 0; i < m; ++i) {
    int j = 0;
    for (; j + 2 <= n; j += 2) {
      Vector two[1][kDotColumns];
      two[0][0] = sums[i][j];
      two[0][1] = sums[i][j + 1];
      dots<1, 2>(a + i, b + j, length, two);
      sums[i][j] = two[0][0];
      sums[i][j + 1] = two[0][1];
    }
    if (j < n) {
      Vector one[1][kDotColumns];
      one[0][0] = sums[i][j];
      dots<1, 1>(a + i, b + j, length, one);
      sums[i][j] = one[0][0];
    }
  }
}

// Where a run is no multiple of the vector, rows are copied without their joints, and zeros added at the end.
Matrix whole(const Matrix &from, int64_t rows, int64_t k, int64_t padded, float *to) {
  parallel(rows, [&](int64_t row) {
    const float *source = from.data + row * from.row_step;
    float *target = to + row * padded;
    for (int64_t at = 0; at < k; at += from.run) {
      const float *piece = source + at / from.run * from.jump;
      const int64_t length = std::min(from.run, k - at);
      for (int64_t i = 0; i < length; ++i) target[at + i] = piece[i * from.column_step];
    }
    for (int64_t i = k; i < padded; ++i) target[i] = 0;
  });
  return {to, padded, 1, padded, 0};
}

}  // namespace

void dot_rows(const Matrix &a, const Matrix &b, float *out, int64_t m, int64_t n, int64_t k) {
  Matrix left = a, right = b;
  if (a.run % kLanes || a.column_step != 1 || b.run != a.run || b.column_step != 1) {
    const int64_t padded = round_up(k, kLanes);
    left = whole(a, m, k, padded, scratch(3, m * padded));
    right = whole(b, n, k, padded, scratch(4, n * padded));
    k = padded;
  }
  const int64_t blocks = (m + kDotRows - 1) / kDotRows;
  // Few rows and a long k: every run is a task with a sum of its own, added in their order afterwards.
  const int64_t groups = blocks >= 32 ? 1 : (k + left.run - 1) / left.run;
  float *parts = groups == 1 ? out : scratch(5, groups * m * n);
  parallel(groups * blocks, [&](int64_t task) {
    const int64_t group = task / blocks, row = task % blocks * kDotRows;
    const int64_t begin = groups == 1 ? 0 : group * left.run, end = groups == 1 ? k : begin + left.run;
    const int rows = static_cast<int>(std::min<int64_t>(kDotRows, m - row));
    for (int64_t column = 0; column < n; column += kDotColumns) {
      const int columns = static_cast<int>(std::min<int64_t>(kDotColumns, n - column));
      Vector sums[kDotRows][kDotColumns] = {};
      for (int64_t at = begin; at < end; at += left.run) {
        const float *x[kDotRows], *y[kDotColumns];
        for (int i = 0; i < rows; ++i) x[i] = left.data + (row + i) * left.row_step + at / left.run * left.jump;
        for (int j = 0; j < columns; ++j)
          y[j] = right.data + (column + j) * right.row_step + at / right.run * right.jump;
        dots_any(rows, columns, x, y, left.run, sums);
      }
      for (int i = 0; i < rows; ++i)
        for (int j = 0; j < columns; ++j) parts[(group * m + row + i) * n + column + j] = sum(sums[i][j]);
    }
  });
  if (groups > 1)
    for (int64_t i = 0; i < m * n; ++i) {
      float total = 0;
      for (int64_t group = 0; group < groups; ++group) total += parts[group * m * n + i];
      out[i] = total;
    }
}

}  // namespace ghost
