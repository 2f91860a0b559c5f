#include "engine/fake/fake_runner.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "engine/batch_check.h"

namespace mlxd {
namespace {

// The finaliser of SplitMix64 (Steele, Lea, Flood 2014).
std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

constexpr int kLost = -2;  // the token of a position whose step failed; the length of such a state

void demand(bool holds, const char* what) {
  if (!holds) throw std::logic_error(fmt::format("fake runner: {}", what));
}

}  // namespace

FakeRunner::FakeRunner(FakeOptions options) : options_(std::move(options)) {
  info_.backend = "fake";
  info_.vocab_size = options_.vocab_size;
  info_.context_length = options_.context_length;
  info_.block_size = options_.block_size;
  info_.kv = options_.kv;
  info_.state_bytes = options_.state_bytes;
  info_.pooled_size = options_.pooled_size;
  info_.causal = options_.causal;
  info_.rows_are_independent = options_.rows_are_independent;
  info_.kv_format = options_.kv_format;
  info_.has_roles = options_.has_roles;
  info_.draws = options_.draws;
  info_.ahead = options_.ahead;
  info_.row_cost = options_.row_cost;
}

void FakeRunner::resize_cache(const CacheSize& size) {
  size_ = size;
  cache_.resize(size.blocks.size());
  for (std::size_t group = 0; group < cache_.size(); ++group) {
    cache_[group].assign(static_cast<std::size_t>(size.blocks[group]) * options_.block_size,
                         Slot{});
  }
  states_.assign(size.states, State{0, kLost});
}

void FakeRunner::launch(const Batch& planned) {
  const std::uint64_t step = steps_++;
  demand(static_cast<int>(flights_.size()) <= options_.ahead, "no more steps are launched ahead");
  check_batch(planned, info_, size_, static_cast<int>(drawn_.size()));
  Batch known;  // with the tokens that were drawn in the place of those that were to come
  const bool ahead = std::ranges::any_of(planned.tokens, [](int token) { return token < 0; });
  if (ahead) {
    known = planned;
    for (int& token : known.tokens) token = token < 0 ? drawn_[~token] : token;
  }
  const Batch& batch = ahead ? known : planned;
  if (options_.before_step) options_.before_step(batch, step);
  Flight flight = std::move(spare_);
  flight.step = step;
  flight.failed = false;
  flight.output.logits.clear();
  flight.output.drawn.clear();
  flight.output.pooled.clear();
  flight.drawable.clear();
  flight.place.clear();
  flight.written.clear();
  flight.saved.clear();
  copy_blocks(batch, flight);
  compute(batch, flight);
  flights_.push_back(std::move(flight));
  drawn_.clear();
}

void FakeRunner::copy_blocks(const Batch& batch, Flight& flight) {
  const auto width = static_cast<std::ptrdiff_t>(options_.block_size);
  for (const BlockCopy& copy : batch.block_copies) {
    const auto cells = cache_[copy.group].begin();
    std::copy_n(cells + copy.from * width, width, cells + copy.to * width);
    for (int i = 0; i < width; ++i) flight.written.push_back(&cells[copy.to * width + i]);
  }
}

void FakeRunner::compute(const Batch& batch, Flight& flight) {
  const std::size_t vocabulary = options_.vocab_size;
  for (const BatchSequence& sequence : batch.sequences) {
    const int first_position = sequence.context_length - sequence.query_length;
    State state = state_before(sequence);
    auto save = sequence.saves.begin();
    for (int i = 0; i < sequence.query_length; ++i) {
      const int row = sequence.first_row + i;
      const int position = first_position + i;
      for (int group = 0; group < static_cast<int>(cache_.size()); ++group) {
        Slot& written = slot(sequence, group, position);
        written = {batch.tokens[row], position, role_of(sequence, row)};
        flight.written.push_back(&written);
      }
      state.hash = mix(state.hash + static_cast<std::uint64_t>(batch.tokens[row]) + 1 +
                       role_of(sequence, row));
      // Another length is somebody else's, or stale: from here on everything is wrong.
      if (state.length++ != position) state = {~state.hash, kLost};
      if (save != sequence.saves.end() && save->after_row == row) {
        flight.saved.push_back(&states_.at((save++)->slot));
        *flight.saved.back() = state;
      }
      const std::size_t wanted = flight.place.size();
      if (wanted == batch.wanted.size() || batch.wanted[wanted].row != row) continue;
      if (batch.wanted[wanted].output == RowOutput::pooled) {
        flight.place.push_back(-1);
        if (options_.causal) {
          read_history(sequence, position + 1);
        } else {
          const auto tokens = batch.tokens.begin() + sequence.first_row;
          history_.assign(tokens, tokens + sequence.query_length);
          roles_.assign(history_.size(), 0);
        }
        pool(sequence, flight.output.pooled);
        continue;
      }
      const bool draws = batch.wanted[wanted].output == RowOutput::token;
      std::vector<float>& rows = draws ? flight.drawable : flight.output.logits;
      flight.place.push_back(draws ? static_cast<int>(rows.size() / vocabulary) : -1);
      read_history(sequence, position + 1);
      rows.resize(rows.size() + vocabulary);
      write_logits(state, std::span(rows).last(vocabulary));
    }
  }
}

void FakeRunner::draw(std::span<const Draw> draws) {
  demand(options_.draws && !flights_.empty(), "draws are of a step in flight");
  Flight& flight = flights_.back();
  flight.failed = true;
  if (options_.before_draw) options_.before_draw(flight.step);
  const std::size_t vocabulary = options_.vocab_size;
  for (const Draw& draw : draws) {
    const int row = flight.place.at(draw.wanted);
    demand(row >= 0, "tokens are drawn where they are wanted");
    auto drawn =
        sampler_.draw(std::span(flight.drawable).subspan(row * vocabulary, vocabulary), draw);
    if (!drawn) {
      SampledToken none;
      none.sample = draw.sample;
      none.token = -1;
      drawn = std::move(none);
    }
    drawn_.push_back(drawn->token);
    flight.output.drawn.push_back(*std::move(drawn));
  }
  flight.failed = false;
}

void FakeRunner::wait(StepOutput& output) {
  demand(!flights_.empty(), "steps that are waited for were launched");
  Flight flight = std::move(flights_.front());
  flights_.pop_front();
  try {
    if (options_.before_wait) options_.before_wait(flight.step);
    demand(!flight.failed, "the step failed before");
  } catch (const CacheLost&) {
    for (auto& slots : cache_) std::ranges::fill(slots, Slot{kLost, -1});
    std::ranges::fill(states_, State{0, kLost});
    for (Flight& behind : flights_) behind.failed = true;
    throw;
  } catch (...) {
    spoil(flight);
    for (Flight& behind : flights_) spoil(behind);
    throw;
  }
  std::swap(output, flight.output);
  spare_ = std::move(flight);
}

void FakeRunner::spoil(Flight& flight) {
  flight.failed = true;
  for (Slot* written : flight.written) *written = {kLost, -1};
  for (State* saved : flight.saved) *saved = {0, kLost};
}

std::span<const FakeRunner::Slot> FakeRunner::slots_of(int group, int block,
                                                       std::size_t bytes) const {
  const std::size_t width = options_.block_size;
  demand(!options_.kv_format.empty(), "blocks are exported only by who says so");
  demand(bytes == info_.kv[group].block_bytes && width * sizeof(Slot) <= bytes,
         "a block fits its bytes");
  demand((block + 1) * width <= cache_[group].size(), "blocks are of the pool");
  return std::span(cache_[group]).subspan(block * width, width);
}

void FakeRunner::export_block(int group, int block, std::span<std::byte> contents) const {
  const auto slots = std::as_bytes(slots_of(group, block, contents.size()));
  std::ranges::copy(slots, contents.begin());
  std::ranges::fill(contents.subspan(slots.size()), std::byte{0});
}

void FakeRunner::import_block(int group, int block, std::span<const std::byte> contents) {
  const std::size_t bytes = slots_of(group, block, contents.size()).size_bytes();
  std::memcpy(&cache_[group].at(static_cast<std::size_t>(block) * options_.block_size),
              contents.data(), bytes);
}

void FakeRunner::export_state(int slot, std::size_t offset, std::span<std::byte> contents) const {
  demand(offset + contents.size() <= options_.state_bytes, "a part of a state is within it");
  const auto state = std::as_bytes(std::span(&states_.at(slot), 1));
  for (std::size_t i = 0; i < contents.size(); ++i) {
    contents[i] = offset + i < state.size() ? state[offset + i] : std::byte{0};
  }
}

void FakeRunner::import_state(int slot, std::size_t offset, std::span<const std::byte> contents) {
  demand(offset + contents.size() <= options_.state_bytes, "a part of a state is within it");
  const auto state = std::as_writable_bytes(std::span(&states_.at(slot), 1));
  for (std::size_t i = 0; i < contents.size() && offset + i < state.size(); ++i) {
    state[offset + i] = contents[i];
  }
}

FakeRunner::State FakeRunner::state_before(const BatchSequence& sequence) const {
  return sequence.state < 0 ? State{} : states_.at(sequence.state);
}

FakeRunner::Slot& FakeRunner::slot(const BatchSequence& sequence, int group, int position) {
  const int block = sequence.blocks[group][position / options_.block_size];
  demand(block >= 0, "what was let go is not read");
  return cache_[group].at(static_cast<std::size_t>(block) * options_.block_size +
                          position % options_.block_size);
}

// What is added to a token where it is hashed.
int FakeRunner::role_of(const BatchSequence& sequence, int row) const {
  const bool generated = row - sequence.first_row >= sequence.prompt_rows;
  return options_.has_roles && generated ? options_.vocab_size : 0;
}

int FakeRunner::first_read(int group, int length) const {
  const int window = info_.kv[group].window;
  return window == 0 ? 0 : std::max(length - window, 0);
}

void FakeRunner::read_history(const BatchSequence& sequence, int length) {
  const int groups = static_cast<int>(cache_.size());
  int from = length;
  for (int group = 0; group < groups; ++group) from = std::min(from, first_read(group, length));
  history_.assign(length - from, -1);
  roles_.assign(length - from, 0);
  for (int group = 0; group < groups; ++group) {
    for (int position = first_read(group, length); position < length; ++position) {
      const Slot& read = slot(sequence, group, position);
      int& token = history_[position - from];
      // Another position's token is somebody else's or stale, as is another one than in the other
      // groups: let it show in the answer.
      const bool right = read.position == position && (token == -1 || token == read.token);
      token = right ? read.token : -2 - std::abs(read.token);
      roles_[position - from] = read.role;
    }
  }
}

std::uint64_t FakeRunner::hash_history(std::uint64_t hash) const {
  for (std::size_t i = 0; i < history_.size(); ++i) {
    hash = mix(hash + static_cast<std::uint64_t>(history_[i]) + 1 + roles_[i]);
  }
  return hash;
}

void FakeRunner::write_logits(const State& state, std::span<float> logits) {
  std::uint64_t hash = hash_history(0x9E3779B97F4A7C15);
  if (options_.state_bytes > 0) hash = mix(hash + state.hash);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    logits[i] = static_cast<float>(mix(hash + i * 0x9E3779B97F4A7C15) >> 40) * 0x1p-21f - 4;
  }
  if (options_.edit_logits) options_.edit_logits(history_, logits);
}

void FakeRunner::pool(const BatchSequence& sequence, std::vector<float>& pooled) {
  const std::uint64_t hash = hash_history(mix(static_cast<std::uint64_t>(sequence.second_begin)));
  for (int i = 0; i < options_.pooled_size; ++i) {
    pooled.push_back(static_cast<float>(mix(hash + i * 0x9E3779B97F4A7C15) >> 40) * 0x1p-23f - 1);
  }
}

std::function<void(std::span<const int>, std::span<float>)> certain_next_token(
    std::function<int(std::span<const int>)> next) {
  return [next = std::move(next)](std::span<const int> history, std::span<float> logits) {
    const int token = next(history);
    if (token >= 0) logits[token] = 1000;
  };
}

}  // namespace mlxd
