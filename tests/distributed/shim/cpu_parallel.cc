// Preloaded into processes of tests: with it MindSpore's parallel compiler (2.10) splits operators over CPU processes.
//
// The compiler refuses any device that is called neither "Ascend" nor "GPU", and makes its groups of processes through
// an object that does nothing on a CPU. Two functions are put before MindSpore's own, and all else is MindSpore's:
//   - the comparison of a string with a C string: asked by the compiler's library, "CPU" equals "GPU";
//   - CommManager::GetInstance: its groups are made by a function of Python, over MindSpore's collectives for the CPU.
// Both lean on private parts of the wheel, whose strings are those before C++11: build with _GLIBCXX_USE_CXX11_ABI=0.
#include <dlfcn.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <vector>

namespace {

constexpr char kCompiler[] = "libmindspore_frontend.so";

// Whether `address` lies in the library of the parallel compiler.
bool IsInCompiler(const void *address) {
  Dl_info place;
  if (dladdr(address, &place) == 0 || place.dli_fname == nullptr) return false;
  return std::strstr(place.dli_fname, kCompiler) != nullptr;
}

int Compared(const char *left, size_t left_size, const char *right, size_t right_size) {
  const int order = std::memcmp(left, right, std::min(left_size, right_size));
  if (order != 0 || left_size == right_size) return order;
  return left_size < right_size ? -1 : 1;
}

// Makes a group of `count` ranks; returns whether that went well.
using MakeGroup = int (*)(const char *name, const uint32_t *ranks, uint32_t count);

// Stands for MindSpore's CommManager: the same virtual functions in the same order.
class Groups {
 public:
  virtual ~Groups() = default;

  virtual bool CreateGroupSync(const std::string &name, const std::vector<uint32_t> &ranks) const {
    if (members_.count(name) != 0) return true;
    if (make_ == nullptr || make_(name.c_str(), ranks.data(), static_cast<uint32_t>(ranks.size())) == 0) return false;
    members_[name] = ranks;
    return true;
  }

  virtual bool DestroyGroup(const std::string &) const { return true; }

  // Place of this process in a group; a name that is not known is the group of all.
  virtual bool GetRankID(const std::string &name, uint32_t *place) const {
    const auto found = members_.find(name);
    *place = rank_;
    if (found != members_.end()) {
      const auto &ranks = found->second;
      *place = static_cast<uint32_t>(std::find(ranks.begin(), ranks.end(), rank_) - ranks.begin());
    }
    return true;
  }

  virtual bool GetRankSize(const std::string &name, uint32_t *size) const {
    const auto found = members_.find(name);
    *size = found == members_.end() ? size_ : static_cast<uint32_t>(found->second.size());
    return true;
  }

  virtual uint32_t GetRank() { return rank_; }

  void Join(uint32_t rank, uint32_t size, MakeGroup make) {
    rank_ = rank;
    size_ = size;
    make_ = make;
  }

 private:
  // What MindSpore's object holds is not known here; nothing of it is read inline.
  uint32_t rank_ = 0;
  uint32_t size_ = 1;
  MakeGroup make_ = nullptr;
  mutable std::map<std::string, std::vector<uint32_t>> members_;
};

}  // namespace

extern "C" {

// int std::string::compare(const char *) const
int CompareTexts(const std::string *text, const char *other) __asm__("_ZNKSs7compareEPKc");
int CompareTexts(const std::string *text, const char *other) {
  const int order = Compared(text->data(), text->size(), other, std::strlen(other));
  const bool asks_for_gpu = order != 0 && std::strcmp(other, "GPU") == 0 && std::strcmp(text->c_str(), "CPU") == 0;
  return asks_for_gpu && IsInCompiler(__builtin_return_address(0)) ? 0 : order;
}

// mindspore::CommManager &mindspore::CommManager::GetInstance()
Groups &GroupsOfProcess() __asm__("_ZN9mindspore11CommManager11GetInstanceEv");
Groups &GroupsOfProcess() {
  static Groups groups;
  return groups;
}

// Called from Python: this process is `rank` of `size`, and `make` makes its groups.
void join_processes(uint32_t rank, uint32_t size, MakeGroup make) { GroupsOfProcess().Join(rank, size, make); }
}
