// Calls every kernel with odd sizes from several threads at once; scripts/sanitize_kernels.sh runs it under sanitizers.
// Every buffer has its exact size, so that an access beyond it is found. Argument: oneDNN's file.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

using Kernel = int(int, void**, int*, int64_t**, const char**, void*, void*);
extern "C" {
int mindformers_kernels_open(const char*, char*, size_t);
void mindformers_kernels_error(char*, size_t);
size_t mindformers_kernels_release();
Kernel mindformers_linear_forward, mindformers_linear_backward, mindformers_feed_forward_forward,
    mindformers_feed_forward_backward, mindformers_attention_forward, mindformers_attention_backward,
    mindformers_norm_forward, mindformers_norm_backward, mindformers_add, mindformers_dropout;
}

using Shape = std::vector<int64_t>;

struct Argument {
  Argument(const char* type, Shape shape, std::mt19937* random = nullptr) : type(type), shape(std::move(shape)) {
    size_t count = 1, width = !std::strcmp(type, "bfloat16") ? 2 : !std::strcmp(type, "float64") ? 8 : 4;
    for (int64_t size : this->shape) count *= size_t(size);
    data.resize(count * width);
    if (!random) return;
    std::normal_distribution<float> normal;
    for (size_t i = 0; i < count; ++i) {
      float number = normal(*random);
      uint32_t bits;
      std::memcpy(&bits, &number, 4);
      if (width == 2) {
        uint16_t upper = uint16_t(bits >> 16);
        std::memcpy(&data[i * 2], &upper, 2);
      } else {
        std::memcpy(&data[i * 4], &bits, 4);
      }
    }
  }

  Argument(std::initializer_list<double> numbers) : type("float64"), shape{int64_t(numbers.size())} {
    data.resize(numbers.size() * 8);
    std::memcpy(data.data(), numbers.begin(), data.size());
  }

  const char* type;
  Shape shape;
  std::vector<char> data;
};

void call(const char* name, Kernel* kernel, std::vector<Argument*> arguments) {
  std::vector<void*> data;
  std::vector<int> ranks;
  std::vector<int64_t*> shapes;
  std::vector<const char*> types;
  for (Argument* argument : arguments) {
    data.push_back(argument->data.data());
    ranks.push_back(int(argument->shape.size()));
    shapes.push_back(argument->shape.data());
    types.push_back(argument->type);
  }
  if (!kernel(int(data.size()), data.data(), ranks.data(), shapes.data(), types.data(), nullptr, nullptr)) return;
  char text[1024];
  mindformers_kernels_error(text, sizeof text);
  std::fprintf(stderr, "%s failed: %s\n", name, text);
  std::exit(1);
}
#define CALL(name, ...) call(#name, mindformers_##name, {__VA_ARGS__})

void products(const char* type, int64_t rows, int64_t in, int64_t out, std::mt19937* random) {
  Argument x(type, {rows, in}, random), w1("float32", {out, in}, random), w2("float32", {out, in}, random);
  Argument down("float32", {in, out}, random), bias("float32", {out}, random), settings{2, 0};
  Argument y(type, {rows, 2 * out}), dx(type, {rows, in}), dw1("float32", {out, in}), dw2("float32", {out, in});
  CALL(linear_forward, &x, &w1, &w2, &settings, &y);
  CALL(linear_backward, &x, &w1, &w2, &y, &settings, &dx, &dw1, &dw2);
  Argument row_words("int32", {rows + 3}, random), column_words("int32", {out}, random), gated{1, 0, 4, 0.25, 3};
  Argument z(type, {rows, in}), pre(type, {rows, 2 * out}), ddown("float32", {in, out});
  CALL(feed_forward_forward, &x, &w1, &w2, &down, &row_words, &column_words, &gated, &z, &pre);
  CALL(feed_forward_backward, &x, &w1, &w2, &down, &pre, &row_words, &column_words, &z, &gated, &dx, &dw1, &dw2, &ddown);
}

void norms(const char* type, int64_t rows, int64_t size, std::mt19937* random) {
  Argument residual("float32", {rows, size}, random), branch(type, {rows, size}, random), grad("float32", {rows, size}, random);
  Argument weight("float32", {size}, random), row_words("int32", {rows}, random), column_words("int32", {size}, random);
  Argument settings{1, 1, 1e-5, 0.5, 0}, dropout{0.5, 0}, y("float32", {rows, size});
  Argument dr("float32", {rows, size}), dw("float32", {size}), db(type, {rows, size}), dbias("float32", {size});
  CALL(norm_forward, &residual, &branch, &weight, &weight, &row_words, &column_words, &settings, &y);
  CALL(norm_backward, &residual, &branch, &weight, &row_words, &column_words, &grad, &settings, &dr, &dw, &db, &dbias);
  CALL(add, &residual, &branch, &row_words, &column_words, &dropout, &y);
  CALL(dropout, &residual, &row_words, &column_words, &dropout, &db);
}

void attention(const char* type, int64_t batch, int64_t length, bool is_causal, std::mt19937* random) {
  int64_t heads = 4, kv_heads = 2, size = 6, width = (heads + 2 * kv_heads) * size, rows = batch * heads * length;
  Argument packed(type, {batch, length, width}, random), key_bias("float32", {batch, 1, length, 1}, random);
  Argument score_bias("float32", {1, heads, length, length}, random), angles("float32", {1, 1, length, size}, random);
  Argument row_words("int32", {rows}, random), column_words("int32", {length}, random);
  Argument settings{4, 2, 6, 0, 24, 36, 0.4, double(is_causal), 1, 1, 1, 0.25, 0};
  Argument context(type, {batch, length, heads * size}), kept("float32", {batch, heads, length, 2});
  Argument grad(type, {batch, length, heads * size}, random), dpacked(type, {batch, length, width});
  Argument dbias("float32", {1, heads, length, length});
  CALL(attention_forward, &packed, &packed, &key_bias, &score_bias, &angles, &angles, &row_words, &column_words,
       &settings, &context, &kept);
  CALL(attention_backward, &packed, &packed, &key_bias, &score_bias, &angles, &angles, &row_words, &column_words,
       &context, &kept, &grad, &settings, &dpacked, &dbias);
}

int main(int, char** arguments) {
  char why[512];
  if (mindformers_kernels_open(arguments[1], why, sizeof why) < 0) {
    std::fprintf(stderr, "%s\n", why);
    return 1;
  }
  std::vector<std::thread> callers;
  for (unsigned seed = 0; seed < 3; ++seed) {
    callers.emplace_back([seed] {
      std::mt19937 random(seed);
      for (const char* type : {"bfloat16", "float32"}) {
        for (int64_t size : {1, 7, 33, 130}) {
          products(type, size, size + 2, 2 * size + 1, &random);
          norms(type, 3 * size, size, &random);
          for (bool is_causal : {false, true}) attention(type, 2, size, is_causal, &random);
        }
      }
    });
  }
  for (auto& caller : callers) caller.join();
  std::printf("%zu bytes were kept\n", mindformers_kernels_release());
}
