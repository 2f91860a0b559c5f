#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

namespace mlxd::cpu {

// Deals out the units of one phase after another to the workers.
//
// run(): each has a part of consecutive units, since memory is read fastest in order, and takes it
// piece by piece from the front; whoever is done takes pieces from the back of what others have
// left. A piece is half of what is left of a part (Polychronopoulos & Kuck 1987, "Guided
// self-scheduling"): long streams first, an even end. run_in_order(): from the first to the last,
// one by one, for units of unequal cost.
//
// A worker may come to a phase at any time, or never: others take its part. What is taken carries
// the phase's number, so that who comes late to a phase finds nothing in it. What a unit computes
// must not depend on who computes it.
class WorkShares {
 public:
  static constexpr int kMostUnits = (1 << 24) - 1;
  static constexpr int kMostPhases = (1 << 16) - 1;

  explicit WorkShares(int workers) : slots_(workers) {}

  // Before phase 0, while nobody runs.
  void begin() {
    for (Slot& slot : slots_) slot.taken.store(0, std::memory_order_relaxed);
  }

  // Calls work(first, end) for pieces of at least `piece` units, while there are as many, until
  // none is left to begin. Phases ascend from 0; one may begin when all units of those before are
  // done. part_begin(w) is the first unit of worker w's part, part_begin(workers) the number of
  // units.
  template <class PartBegin, class Work>
  void run(int worker, int phase, PartBegin&& part_begin, int piece, Work&& work) {
    const int workers = static_cast<int>(slots_.size());
    for (int i = 0; i < workers; ++i) {
      const int owner = worker + i < workers ? worker + i : worker + i - workers;
      const int begin = part_begin(owner), size = part_begin(owner + 1) - begin;
      const auto count = [piece](int left) {
        const int half = (left + 1) / 2;
        return left < piece ? left : half < piece ? piece : half;
      };
      while (true) {
        const Piece taken = take(slots_[owner].taken, phase, size, count, i == 0);
        if (taken.first >= taken.end) break;
        work(begin + taken.first, begin + taken.end);
      }
    }
  }

  // Likewise, for all units of the phase one by one.
  template <class Work>
  void run_in_order(int phase, int units, Work&& work) {
    const auto count = [](int left) { return left > 0 ? 1 : 0; };
    while (true) {
      const Piece taken = take(slots_[0].taken, phase, units, count, true);
      if (taken.first >= taken.end) break;
      work(taken.first, taken.end);
    }
  }

 private:
  struct Piece {
    int first, end;
  };
  // Of a part: the phase (plus 1) in the highest 16 bits, then the units that are taken from its
  // back and from its front, 24 bits each.
  struct alignas(128) Slot {
    std::atomic<std::uint64_t> taken = 0;
  };

  template <class Count>
  static Piece take(std::atomic<std::uint64_t>& taken, int phase, int size, const Count& count_of,
                    bool from_front) {
    constexpr std::uint64_t kUnits = kMostUnits;
    const std::uint64_t tag = static_cast<std::uint64_t>(phase) + 1;
    std::uint64_t seen = taken.load(std::memory_order_relaxed);
    while (true) {
      if (seen >> 48 > tag) return {0, 0};  // this phase is over
      const bool begun = seen >> 48 == tag;
      const int front = begun ? static_cast<int>(seen & kUnits) : 0;
      const int back = begun ? static_cast<int>(seen >> 24 & kUnits) : 0;
      const int count = count_of(size - front - back);
      if (count <= 0) return {0, 0};
      const int new_front = from_front ? front + count : front;
      const int new_back = from_front ? back : back + count;
      const std::uint64_t next = tag << 48 | static_cast<std::uint64_t>(new_back) << 24 |
                                 static_cast<std::uint64_t>(new_front);
      if (taken.compare_exchange_weak(seen, next, std::memory_order_relaxed)) {
        return from_front ? Piece{front, new_front} : Piece{size - new_back, size - back};
      }
    }
  }

  std::vector<Slot> slots_;
};

}  // namespace mlxd::cpu
