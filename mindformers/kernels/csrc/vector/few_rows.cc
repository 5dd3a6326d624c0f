#include "few_rows.h"

#include "lanes.h"

namespace mindformers {
namespace ISA {

constexpr size_t CHAINS = 4;    // sums of a product that do not wait for each other
constexpr size_t AHEAD = 4096;  // bytes: about what memory delivers while a value is on its way

// The part of a product that does not fill a register.
template <class W>
static __attribute__((noinline)) float rest(const float* x, const W* row, size_t count) {
  float sum = 0.0f;
  for (size_t i = 0; i < count; ++i) sum += read(row + i) * x[i];
  return sum;
}

// Products of X rows of x with one row of the weight. Every sum is taken in the same order, whatever X is.
template <size_t X, class W>
static void tile(const float* x, size_t in, const W* weight, float bias, float* y, size_t y_row) {
  Lanes sums[X][CHAINS] = {};
  size_t i = 0;
  for (; i + CHAINS * LANES <= in; i += CHAINS * LANES) {
    const char* later = reinterpret_cast<const char*>(weight + i) + AHEAD;
#pragma GCC unroll 8
    for (size_t byte = 0; byte < CHAINS * LANES * sizeof(W); byte += 64) __builtin_prefetch(later + byte);
#pragma GCC unroll 8
    for (size_t chain = 0; chain < CHAINS; ++chain) {
      Lanes row = load(weight + i + chain * LANES);
#pragma GCC unroll 8
      for (size_t c = 0; c < X; ++c) sums[c][chain] += row * load(x + c * in + i + chain * LANES);
    }
  }
  for (; i + LANES <= in; i += LANES) {
    Lanes row = load(weight + i);
#pragma GCC unroll 8
    for (size_t c = 0; c < X; ++c) sums[c][0] += row * load(x + c * in + i);
  }
#pragma GCC unroll 8
  for (size_t c = 0; c < X; ++c) {
    float sum = total((sums[c][0] + sums[c][1]) + (sums[c][2] + sums[c][3]));
    if (i < in) sum += rest(x + c * in + i, weight + i, in - i);
    y[c * y_row] = sum * scale_of(weight, in) + bias;
  }
}

template <class W>
static void multiply(const float* x, size_t rows, size_t in, const W* weight, size_t outs, const float* bias, float* y,
                     size_t y_row) {
  const size_t weight_row = in + (sizeof(W) == 1 ? SCALE_BYTES : 0);
  for (size_t out = 0; out < outs; ++out) {
    const W* of_out = weight + out * weight_row;
    float added = bias ? bias[out] : 0.0f;
    size_t row = 0;
    for (; row + TILE <= rows; row += TILE) {
      tile<TILE>(x + row * in, in, of_out, added, y + row * y_row + out, y_row);
    }
    for (; row < rows; ++row) tile<1>(x + row * in, in, of_out, added, y + row * y_row + out, y_row);
  }
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
const FewRowsTable<int8_t> few_rows_int8 = {multiply<int8_t>};
const MixTable mixes = {mix};

}  // namespace ISA
}  // namespace mindformers
