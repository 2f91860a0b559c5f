#include "golden/golden.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <ostream>
#include <sstream>
#include <stdexcept>

#include <boost/json.hpp>

namespace mlxd::golden {
namespace {

namespace json = boost::json;

Fixture load(const std::filesystem::path& path, const std::filesystem::path& models) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot read " + path.string());
  std::stringstream text;
  text << file.rdbuf();
  const json::value root = json::parse(text.str());
  Fixture fixture;
  fixture.name = json::value_to<std::string>(root.at("model"));
  fixture.model = models / json::value_to<std::string>(root.at("file"));
  for (const json::value& prompt : root.at("prompts").as_array()) {
    Prompt& out = fixture.prompts.emplace_back();
    out.tokens = json::value_to<std::vector<int>>(prompt.at("tokens"));
    for (const json::value& row : prompt.at("rows").as_array()) {
      out.rows.push_back({json::value_to<int>(row.at("row")),
                          json::value_to<double>(row.at("logsumexp")),
                          json::value_to<std::vector<int>>(row.at("ids")),
                          json::value_to<std::vector<double>>(row.at("logprobs"))});
    }
  }
  return fixture;
}

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// |a - b|, where a NaN is infinitely far from everything.
double distance(double a, double b) {
  const double difference = std::abs(a - b);
  return std::isnan(difference) ? kInfinity : difference;
}

// A sequence on its way through the steps.
struct Running {
  const Prompt* prompt = nullptr;
  std::vector<int> blocks;
  int done = 0;
  std::size_t next_row = 0;  // of prompt->rows
  std::vector<float>* logits = nullptr;
  StateSave save = {};  // of a model with states: after this step's last row, in place
};

int blocks_for(const Prompt& prompt, int block_size) {
  return (static_cast<int>(prompt.tokens.size()) + block_size - 1) / block_size;
}

// Gives each sequence its blocks out of one pool: runs of neighbours, or every other one counted
// from the end, so that tables interleave and descend.
void give_blocks(std::vector<Running>& sequences, int block_size, bool scattered, int pool) {
  std::vector<int> order(static_cast<std::size_t>(pool));
  for (int i = 0; i < pool; ++i) order[i] = i;
  if (scattered) {
    std::reverse(order.begin(), order.end());
    std::stable_partition(order.begin(), order.end(), [](int block) { return block % 2 == 1; });
  }
  auto next = order.begin();
  for (Running& sequence : sequences) {
    const int count = blocks_for(*sequence.prompt, block_size);
    sequence.blocks.assign(next, next + count);
    next += count;
  }
}

// One step over all sequences that have rows left; false when none has.
bool step(ModelRunner& runner, std::vector<Running>& sequences, int chunk) {
  Batch batch;
  std::vector<std::vector<float>*> wanted;
  for (Running& sequence : sequences) {
    const Prompt& prompt = *sequence.prompt;
    const int rows = std::min<int>(chunk, static_cast<int>(prompt.tokens.size()) - sequence.done);
    if (rows == 0) continue;
    const int first = batch.rows();
    for (int i = 0; i < rows; ++i) {
      batch.tokens.push_back(prompt.tokens[sequence.done + i]);
      batch.positions.push_back(sequence.done + i);
    }
    for (; sequence.next_row < prompt.rows.size() &&
           prompt.rows[sequence.next_row].row < sequence.done + rows;
         ++sequence.next_row) {
      batch.want_logits(first + prompt.rows[sequence.next_row].row - sequence.done);
      wanted.push_back(sequence.logits);
    }
    sequence.done += rows;
    BatchSequence& part = batch.sequences.emplace_back(
        BatchSequence{first, rows, sequence.done, tables_of(runner.info(), sequence.blocks)});
    if (runner.info().state_bytes == 0) continue;
    sequence.save = {first + rows - 1, static_cast<int>(&sequence - sequences.data())};
    part.state = sequence.done == rows ? -1 : sequence.save.slot;
    part.saves = {&sequence.save, 1};
  }
  if (batch.rows() == 0) return false;
  StepOutput output;
  runner.step(batch, output);
  const int vocab = runner.info().vocab_size;
  if (output.logits.size() != wanted.size() * vocab) {
    throw std::runtime_error("the runner returned logits of the wrong size");
  }
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const float* row = output.logits.data() + i * vocab;
    wanted[i]->insert(wanted[i]->end(), row, row + vocab);
  }
  return true;
}

double log_sum_exp(std::span<const float> logits) {
  const double top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (float value : logits) sum += std::exp(value - top);
  return top + std::log(sum);
}

double divergence(const Row& row, std::span<const double> logprobs) {
  double rest = 1, rest_here = 1, sum = 0;
  for (std::size_t i = 0; i < row.ids.size(); ++i) {
    const double probability = std::exp(row.logprobs[i]);
    sum += probability * (row.logprobs[i] - logprobs[i]);
    rest -= probability;
    rest_here -= std::exp(logprobs[i]);
  }
  // Below that the remainders are rounding of the five decimals that the fixture has.
  constexpr double kLeast = 1e-4;
  if (rest > kLeast && rest_here > kLeast) sum += rest * std::log(rest / rest_here);
  return std::isnan(sum) ? kInfinity : std::max(sum, 0.0);
}

}  // namespace

Fixture load_real(const std::string& name) {
  return load(std::filesystem::path(MLXD_TEST_DATA) / "golden/logits" / (name + ".json"),
              MLXD_TEST_MODELS);
}

Fixture load_tiny(const std::string& name) {
  const std::filesystem::path folder = std::filesystem::path(MLXD_TEST_DATA) / "golden/tiny";
  Fixture fixture = load(folder / std::filesystem::path(name).replace_extension(".json"), folder);
  if (name.ends_with(".gguf")) fixture.model = folder / name;
  return fixture;
}

std::string test_name(const char* model) {
  std::string name = model;
  std::replace_if(name.begin(), name.end(), [](char c) { return c == '-' || c == '.'; }, '_');
  return name;
}

std::vector<std::vector<float>> run(ModelRunner& runner, std::span<const Prompt> prompts,
                                    const Schedule& schedule) {
  const int block_size = runner.info().block_size;
  const std::size_t together = static_cast<std::size_t>(schedule.together);
  int pool = 0;
  for (std::size_t first = 0; first < prompts.size(); first += together) {
    int blocks = 0;
    for (std::size_t i = first; i < std::min(first + together, prompts.size()); ++i) {
      blocks += blocks_for(prompts[i], block_size);
    }
    pool = std::max(pool, blocks);
  }
  const int states = runner.info().state_bytes > 0 ? schedule.together : 0;
  runner.resize_cache(CacheSize::of(runner.info(), pool, states));

  std::vector<std::vector<float>> logits(prompts.size());
  for (std::size_t first = 0; first < prompts.size(); first += together) {
    std::vector<Running> sequences;
    for (std::size_t i = first; i < std::min(first + together, prompts.size()); ++i) {
      sequences.push_back({&prompts[i], {}, 0, 0, &logits[i]});
    }
    give_blocks(sequences, block_size, schedule.scattered_blocks, pool);
    while (step(runner, sequences, schedule.chunk)) {
    }
  }
  return logits;
}

Difference compare(std::span<const Prompt> prompts, std::span<const std::vector<float>> logits,
                   int vocab_size) {
  Difference out;
  std::vector<double> divergences;
  for (std::size_t p = 0; p < prompts.size(); ++p) {
    for (std::size_t r = 0; r < prompts[p].rows.size(); ++r) {
      const Row& row = prompts[p].rows[r];
      const auto values = std::span(logits[p]).subspan(r * vocab_size, vocab_size);
      const double total = log_sum_exp(values);
      std::vector<double> logprobs;
      for (int id : row.ids) logprobs.push_back(values[id] - total);
      ++out.rows;
      out.same_top +=
          std::max_element(values.begin(), values.end()) - values.begin() == row.ids.front();
      out.largest_logsumexp = std::max(out.largest_logsumexp, distance(total, row.logsumexp));
      for (std::size_t i = 0; i < row.ids.size(); ++i) {
        out.largest_logprob = std::max(out.largest_logprob, distance(logprobs[i], row.logprobs[i]));
      }
      const double kl = divergence(row, logprobs);
      out.mean_divergence += kl;
      divergences.push_back(kl);
      out.largest_divergence = std::max(out.largest_divergence, kl);
    }
  }
  out.mean_divergence /= std::max(out.rows, 1);
  std::ranges::sort(divergences);
  if (!divergences.empty()) out.median_divergence = divergences[divergences.size() / 2];
  return out;
}

Difference compare(ModelRunner& runner, std::span<const Prompt> prompts, const Schedule& schedule) {
  return compare(prompts, run(runner, prompts, schedule), runner.info().vocab_size);
}

double largest_difference(std::span<const std::vector<float>> a,
                          std::span<const std::vector<float>> b) {
  if (a.size() != b.size()) throw std::runtime_error("different numbers of prompts");
  double largest = 0;
  for (std::size_t p = 0; p < a.size(); ++p) {
    if (a[p].size() != b[p].size()) throw std::runtime_error("different numbers of logits");
    for (std::size_t i = 0; i < a[p].size(); ++i) {
      largest = std::max(largest, distance(a[p][i], b[p][i]));
    }
  }
  return largest;
}

std::ostream& operator<<(std::ostream& out, const Difference& difference) {
  return out << difference.rows << " rows, same top token in " << difference.same_top
             << ", largest log-probability difference " << difference.largest_logprob
             << ", log-sum-exp " << difference.largest_logsumexp << ", divergence mean "
             << difference.mean_divergence << ", median " << difference.median_divergence
             << ", largest " << difference.largest_divergence;
}

}  // namespace mlxd::golden
