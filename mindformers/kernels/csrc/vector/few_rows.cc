#include "few_rows.h"

#include "lanes.h"

namespace mindformers {
namespace ISA {

constexpr size_t STRIP = 4;  // rows of the weight that are read side by side

// The part of a product that does not fill a register.
template <class W>
static __attribute__((noinline)) float rest(const float* x, const W* row, size_t count) {
  float sum = 0.0f;
  for (size_t i = 0; i < count; ++i) sum += read(row + i) * x[i];
  return sum;
}

// Products of X rows of x with R rows of the weight. Every sum is taken in the same order, whatever X and R are.
template <size_t R, size_t X, class W>
static void tile(const float* x, size_t in, const W* weight, const float* bias, float* y, size_t y_row) {
  Lanes sums[R][X] = {};
  size_t i = 0;
  for (; i + LANES <= in; i += LANES) {
    Lanes columns[X];
#pragma GCC unroll 8
    for (size_t c = 0; c < X; ++c) columns[c] = load(x + c * in + i);
#pragma GCC unroll 8
    for (size_t r = 0; r < R; ++r) {
      Lanes row = load(weight + r * in + i);
#pragma GCC unroll 8
      for (size_t c = 0; c < X; ++c) sums[r][c] += row * columns[c];
    }
  }
#pragma GCC unroll 8
  for (size_t r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (size_t c = 0; c < X; ++c) {
      float sum = total(sums[r][c]);
      if (i < in) sum += rest(x + c * in + i, weight + r * in + i, in - i);
      y[c * y_row + r] = bias ? sum + bias[r] : sum;
    }
  }
}

template <size_t R, class W>
static void strip(const float* x, size_t rows, size_t in, const W* weight, const float* bias, float* y,
                  size_t y_row) {
  size_t row = 0;
  for (; row + TILE <= rows; row += TILE) tile<R, TILE>(x + row * in, in, weight, bias, y + row * y_row, y_row);
  for (; row < rows; ++row) tile<R, 1>(x + row * in, in, weight, bias, y + row * y_row, y_row);
}

template <class W>
static void multiply(const float* x, size_t rows, size_t in, const W* weight, size_t outs, const float* bias, float* y,
                     size_t y_row) {
  size_t out = 0;
  for (; out + STRIP <= outs; out += STRIP) {
    strip<STRIP>(x, rows, in, weight + out * in, bias ? bias + out : nullptr, y + out, y_row);
  }
  for (; out < outs; ++out) strip<1>(x, rows, in, weight + out * in, bias ? bias + out : nullptr, y + out, y_row);
}

// The same, with sums over rows of values: X rows of shares, C registers of columns.
template <size_t X, size_t C>
static void mix_tile(const float* shares, size_t shares_row, const float* values, size_t count, size_t size, float* out,
                     size_t out_row) {
  Lanes sums[X][C] = {};
  for (size_t s = 0; s < count; ++s) {
    Lanes columns[C];
#pragma GCC unroll 8
    for (size_t c = 0; c < C; ++c) columns[c] = load(values + s * size + c * LANES);
#pragma GCC unroll 8
    for (size_t r = 0; r < X; ++r) {
      float share = shares[r * shares_row + s];
#pragma GCC unroll 8
      for (size_t c = 0; c < C; ++c) sums[r][c] += share * columns[c];
    }
  }
#pragma GCC unroll 8
  for (size_t r = 0; r < X; ++r) {
#pragma GCC unroll 8
    for (size_t c = 0; c < C; ++c) store(out + r * out_row + c * LANES, sums[r][c]);
  }
}

template <size_t X>
static void mix_rows(const float* shares, size_t shares_row, const float* values, size_t count, size_t size, float* out,
                     size_t out_row) {
  size_t column = 0;
  for (; column + 4 * LANES <= size; column += 4 * LANES) {
    mix_tile<X, 4>(shares, shares_row, values + column, count, size, out + column, out_row);
  }
  for (; column + LANES <= size; column += LANES) {
    mix_tile<X, 1>(shares, shares_row, values + column, count, size, out + column, out_row);
  }
  for (; column < size; ++column) {
    for (size_t r = 0; r < X; ++r) {
      float sum = 0.0f;
      for (size_t s = 0; s < count; ++s) sum += shares[r * shares_row + s] * values[s * size + column];
      out[r * out_row + column] = sum;
    }
  }
}

static void mix(const float* shares, size_t shares_row, size_t rows, const float* values, size_t count, size_t size,
                float* out, size_t out_row) {
  size_t row = 0;
  for (; row + TILE <= rows; row += TILE) {
    mix_rows<TILE>(shares + row * shares_row, shares_row, values, count, size, out + row * out_row, out_row);
  }
  for (; row < rows; ++row) {
    mix_rows<1>(shares + row * shares_row, shares_row, values, count, size, out + row * out_row, out_row);
  }
}

const FewRowsTable<float> few_rows_float = {multiply<float>};
const FewRowsTable<bf16> few_rows_bf16 = {multiply<bf16>};
const MixTable mixes = {mix};

}  // namespace ISA
}  // namespace mindformers
