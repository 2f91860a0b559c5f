#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

namespace mlxd::cpu {

// Deals out the units of a phase (tiles of matrices, groups of columns) to the workers. Each has a
// part of consecutive units, since memory is read fastest in order, and takes it piece by piece
// from the front; whoever is done takes pieces from the back of what others have left. A piece is
// half of what is left of a part (Polychronopoulos & Kuck 1987, "Guided self-scheduling"): long
// streams first, an even end. So a worker whose core is lent to somebody else for a while holds up
// the others by less than its part. What a unit computes must not depend on who computes it.
class WorkShares {
 public:
  explicit WorkShares(int workers) : slots_(workers) {}

  // Calls work(first, end) for pieces of at least `piece` units, while there are as many, until
  // none is left to begin. Every worker calls it once a phase, with the same arguments but its own
  // index, and a barrier stands between two phases. part_begin(w) is the first unit of worker w's
  // part, part_begin(workers) the number of units.
  template <class PartBegin, class Work>
  void run(int worker, PartBegin&& part_begin, int piece, Work&& work) {
    Slot& own = slots_[worker];
    const unsigned phase = own.phase++ % 2;
    own.taken[1 - phase].store(0, std::memory_order_relaxed);  // all have left the last phase
    const int workers = static_cast<int>(slots_.size());
    for (int i = 0; i < workers; ++i) {
      const int owner = worker + i < workers ? worker + i : worker + i - workers;
      const int begin = part_begin(owner), size = part_begin(owner + 1) - begin;
      while (true) {
        const Piece taken = take(slots_[owner].taken[phase], size, piece, i == 0);
        if (taken.first >= taken.end) break;
        work(begin + taken.first, begin + taken.end);
      }
    }
  }

 private:
  struct Piece {
    int first, end;
  };
  struct alignas(128) Slot {
    // Units that are taken of a part: from its front in the low half, from its back in the high.
    // Two, for the phase at hand and the next.
    std::atomic<std::uint64_t> taken[2] = {};
    unsigned phase = 0;  // the worker's own
  };

  static Piece take(std::atomic<std::uint64_t>& taken, int size, int piece, bool from_front) {
    std::uint64_t seen = taken.load(std::memory_order_relaxed);
    while (true) {
      const int front = static_cast<int>(seen & 0xffffffff), back = static_cast<int>(seen >> 32);
      const int left = size - front - back;
      const int half = (left + 1) / 2;
      const int count = left < piece ? left : half < piece ? piece : half;
      if (count <= 0) return {0, 0};
      const std::uint64_t more = static_cast<std::uint64_t>(count) << (from_front ? 0 : 32);
      if (taken.compare_exchange_weak(seen, seen + more, std::memory_order_relaxed)) {
        return from_front ? Piece{front, front + count} : Piece{size - back - count, size - back};
      }
    }
  }

  std::vector<Slot> slots_;
};

}  // namespace mlxd::cpu
