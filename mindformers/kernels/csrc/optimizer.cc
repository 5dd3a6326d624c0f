// The sums of squares of all gradients, and Adam's update of all parameters in place, each as one operator.
//
// Tensors are cut into chunks of a fixed size, so that results do not depend on the number of threads.
#include "vector/optimizer.h"

#include <algorithm>
#include <vector>

#include "call.h"
#include "pool.h"

namespace mindformers {
namespace {

constexpr int64_t CHUNK = 1 << 16;  // elements

// After the settings: the decays of groups, then a group a parameter.
enum Settings { NUMBER, BETA1, BETA2, DECOUPLED, GROUPS, TABLES };
enum Scalars { EPS, FACTOR, RATES };                                // then the rates of groups, then their decay steps

struct Chunk {
  int tensor;
  int64_t begin, count;
};

// The chunks of arguments 0 to `number` - 1.
std::vector<Chunk> chunks(const Call& call, int number) {
  std::vector<Chunk> found;
  for (int i = 0; i < number; ++i) {
    int64_t size = call.tensor(i).size();
    for (int64_t begin = 0; begin < size; begin += CHUNK) found.push_back({i, begin, std::min(CHUNK, size - begin)});
  }
  return found;
}

}  // namespace
}  // namespace mindformers

// gradients, settings -> the sums of squares, one a gradient
KERNEL(mindformers_square_sums) {
  using namespace mindformers;
  int number = call.settings_place();
  require(call.tensor(number + 1).size() == number, "there is not a sum for each gradient");
  std::vector<Chunk> pieces = chunks(call, number);
  std::vector<double> sums(pieces.size()), totals(number, 0.0);
  run_tasks(int64_t(pieces.size()), [&](int64_t i) {
    const Chunk& piece = pieces[i];
    sums[i] = optimizers().squares(call.of<float>(piece.tensor) + piece.begin, piece.count);
  });
  for (size_t i = 0; i < pieces.size(); ++i) totals[pieces[i].tensor] += sums[i];
  std::copy(totals.begin(), totals.end(), call.of<float>(number + 1));
}

// parameters, means, squares, gradients, scalars, settings -> the number of parameters
KERNEL(mindformers_adam) {
  using namespace mindformers;
  int place = call.settings_place(), number = int(call.setting(place, NUMBER));
  int groups = int(call.setting(place, GROUPS));
  require(place == 4 * number + 1, "there is not a mean, a square and a gradient for each parameter");
  require(call.tensor(place).size() == TABLES + groups + number, "there is not a group for each parameter");
  require(call.tensor(place - 1).size() == RATES + 2 * groups, "there is not a rate for each group");
  const float* scalars = call.of<float>(place - 1);
  bool decoupled = call.setting(place, DECOUPLED) != 0;
  for (int i = 0; i < number; ++i) {
    for (int kind = 1; kind < 4; ++kind) {
      require(call.tensor(kind * number + i).size() == call.tensor(i).size(), "a gradient or its moments do not fit");
    }
  }
  std::vector<Chunk> pieces = chunks(call, number);
  run_tasks(int64_t(pieces.size()), [&](int64_t i) {
    const Chunk& piece = pieces[i];
    int group = int(call.setting(place, TABLES + groups + piece.tensor));
    float decay = float(call.setting(place, TABLES + group));
    AdamStep step;
    step.rate = scalars[RATES + group], step.eps = scalars[EPS], step.factor = scalars[FACTOR];
    step.beta1 = float(call.setting(place, BETA1)), step.beta2 = float(call.setting(place, BETA2));
    step.shrink = decoupled ? scalars[RATES + groups + group] : 0.0f;
    step.penalty = decoupled ? 0.0f : decay;
    auto of = [&](int kind) { return call.of<float>(kind * number + piece.tensor) + piece.begin; };
    optimizers().adam(of(0), of(1), of(2), of(3), piece.count, step);
  });
  *call.of<float>(place + 1) = float(number);
}
