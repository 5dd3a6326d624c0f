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
    mindformers_norm_forward, mindformers_norm_backward, mindformers_add, mindformers_dropout,
    mindformers_embedding_forward, mindformers_embedding_backward, mindformers_loss_forward, mindformers_loss_backward,
    mindformers_square_sums, mindformers_adam, mindformers_layers;
}

using Shape = std::vector<int64_t>;

size_t bytes_of(const char* type) {
  return !std::strcmp(type, "int8") ? 1 : !std::strcmp(type, "bfloat16") ? 2 : !std::strcmp(type, "float64") ? 8 : 4;
}

struct Argument {
  Argument(const char* type, Shape shape, std::mt19937* random = nullptr) : type(type), shape(std::move(shape)) {
    size_t count = 1, width = bytes_of(type);
    for (int64_t size : this->shape) count *= size_t(size);
    data.resize(count * width);
    if (!random) return;
    if (width == 1) {  // rows that end with their scale
      for (size_t i = 0; i < count; ++i) data[i] = char((*random)());
      const float scale = 0.01f;
      for (size_t end = size_t(this->shape.back()); end <= count; end += size_t(this->shape.back())) {
        std::memcpy(&data[end - 4], &scale, 4);
      }
      return;
    }
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

  Argument(Shape shape, std::initializer_list<int32_t> numbers) : type("int32"), shape(std::move(shape)) {
    data.resize(numbers.size() * 4);
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
  Argument x(type, {rows, in}, random), w1("float32", {out, in}, random), w2("bfloat16", {out, in}, random);
  Argument down("float32", {in, out}, random), bias("float32", {out}, random), down_bias("bfloat16", {in}, random);
  Argument plain{2, 0}, biased{2, 1}, y(type, {rows, 2 * out}), dx(type, {rows, in});
  Argument dw1("float32", {out, in}), dw2("float32", {out, in}), db1("float32", {out}), db2("float32", {out});
  CALL(linear_forward, &x, &w1, &w2, &plain, &y);
  CALL(linear_backward, &x, &w1, &w2, &y, &plain, &dx, &dw1, &dw2, &db1, &db2);
  CALL(linear_forward, &x, &w1, &w2, &bias, &bias, &biased, &y);
  CALL(linear_backward, &x, &w1, &w2, &y, &biased, &dx, &dw1, &dw2, &db1, &db2);
  Argument eight("int8", {out, in + 4}, random), single{1, 0}, of_eight(type, {rows, out});
  CALL(linear_forward, &x, &eight, &single, &of_eight);
  Argument row_words("int32", {rows + 3}, random), column_words("int32", {out}, random), gated{1, 1, 4, 0.25, 3};
  Argument z(type, {rows, in}), pre(type, {rows, 2 * out}), ddown("float32", {in, out}), ddown_bias("float32", {in});
  CALL(feed_forward_forward, &x, &w1, &w2, &down, &bias, &bias, &down_bias, &row_words, &column_words, &gated, &z,
       &pre);
  CALL(feed_forward_backward, &x, &w1, &w2, &down, &pre, &row_words, &column_words, &z, &gated, &dx, &dw1, &dw2, &ddown,
       &db1, &db2, &ddown_bias);
}

void vocabulary(const char* type, int64_t words, int64_t size, std::mt19937* random) {
  Argument table("float32", {words, size}, random), ids({2, 2}, {0, int32_t(words - 1), int32_t(words / 2), 0});
  Argument eight("int8", {words, size + 4}, random), frozen{0};
  Argument rows("float32", {2, 2, size}), dtable("float32", {words, size});
  CALL(embedding_forward, &table, &ids, &frozen, &rows);
  CALL(embedding_forward, &eight, &ids, &frozen, &rows);
  CALL(embedding_backward, &ids, &rows, &table, &frozen, &dtable);
  Argument x(type, {4, size}, random), bias("float32", {words}, random), labels({4}, {0, -100, int32_t(words - 1), 0});
  Argument settings{-100, 1, double(bytes_of(type) == 2)}, losses("float32", {4}), log_sums("float32", {4});
  Argument dx(type, {4, size}), dbias("float32", {words});
  CALL(loss_forward, &x, &table, &bias, &labels, &settings, &losses, &log_sums);
  CALL(loss_backward, &x, &table, &bias, &labels, &log_sums, &losses, &settings, &dx, &dtable, &dbias);
}

void optimizer(int64_t size, std::mt19937* random) {
  Argument one("float32", {size}, random), other("float32", {3, size}, random), number{2}, sums("float32", {2});
  CALL(square_sums, &one, &other, &number, &sums);
  Argument mean("float32", {size}), means("float32", {3, size});
  Argument square("float32", {size}), squares("float32", {3, size});
  Argument gradient("float32", {size}, random), gradients("float32", {3, size}, random);
  Argument scalars("float32", {4}, random);
  Argument settings{2, 0.9, 0.999, 1, 1, 0.01, 0, 0}, done("float32", {1});
  CALL(adam, &one, &other, &mean, &means, &square, &squares, &gradient, &gradients, &scalars, &settings, &done);
}

// Two rows of a decoder with a memory, whose weights have one type.
void decoder(const char* type, bool is_narrow, int32_t tokens, std::mt19937* random) {
  int64_t heads = 4, kv_heads = 2, size = 6, width = 10, inner = 13, capacity = 40, memory = 5, batch = 2;
  auto weight = [&](int64_t out, int64_t in) {
    return Argument(type, {out, in + (bytes_of(type) == 1 ? 4 : 0)}, random);
  };
  auto vector = [&](int64_t count) { return Argument("float32", {count}, random); };
  auto cache = [&](int64_t slots) { return Argument("float32", {batch * kv_heads * slots, size}, random); };
  std::vector<Argument> own, inputs;
  inputs.emplace_back("float32", Shape{batch, tokens, width}, random);
  inputs.emplace_back("int32", Shape{batch, tokens});
  for (int32_t t = 0; t < tokens; ++t) {
    int32_t slots[2] = {t, int32_t(capacity) - tokens + t};
    for (int row = 0; row < 2; ++row) std::memcpy(&inputs[1].data[size_t(row * tokens + t) * 4], &slots[row], 4);
  }
  inputs.emplace_back("float32", Shape{1, heads, 1, capacity}, random);
  for (int i = 0; i < 2; ++i) inputs.emplace_back("float32", Shape{batch, 1, tokens, size}, random);
  inputs.emplace_back("float32", Shape{batch, 1, 1, memory}, random);
  int64_t query = heads * size, key = kv_heads * size;
  for (int layer = 0; layer < 2; ++layer) {
    for (auto&& each : {vector(width), vector(width), weight(query, width), weight(key, width), weight(key, width),
                        vector(query), vector(key), vector(key), weight(width, query), vector(width), cache(capacity),
                        cache(capacity), vector(width), vector(width), weight(query, width), vector(query),
                        weight(width, query), vector(width), cache(memory), cache(memory), vector(width), vector(width),
                        weight(inner, width), weight(inner, width), weight(width, inner), vector(inner), vector(inner),
                        vector(width)}) {
      own.push_back(each);
    }
  }
  Argument settings{4, 2, 6, 0.4, 1, 1, 40, 5, 1, 1e-5, 1, 1, 1, 1, 4, double(is_narrow)};
  Argument y("float32", {batch, tokens, width});
  std::vector<Argument*> all;
  for (auto& each : inputs) all.push_back(&each);
  for (auto& each : own) all.push_back(&each);
  all.push_back(&settings);
  all.push_back(&y);
  call("layers", mindformers_layers, all);
}

void norms(const char* type, int64_t rows, int64_t size, std::mt19937* random) {
  Argument residual("float32", {rows, size}, random), branch(type, {rows, size}, random);
  Argument grad("float32", {rows, size}, random);
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
      for (int64_t size : {1, 65, 70000}) optimizer(size, &random);
      for (const char* type : {"float32", "bfloat16", "int8"}) {
        for (int32_t tokens : {1, 3, 19}) {
          for (bool is_narrow : {false, true}) decoder(type, is_narrow, tokens, &random);
        }
      }
      for (const char* type : {"bfloat16", "float32"}) {
        for (int64_t size : {1, 7, 33, 130}) {
          products(type, size, size + 2, 2 * size + 1, &random);
          norms(type, 3 * size, size, &random);
          for (bool is_causal : {false, true}) attention(type, 2, size, is_causal, &random);
          vocabulary(type, size + 1, size, &random);
        }
      }
    });
  }
  for (auto& caller : callers) caller.join();
  std::printf("%zu bytes were kept\n", mindformers_kernels_release());
}
