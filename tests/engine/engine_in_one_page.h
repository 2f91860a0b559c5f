struct Sequence {
  std::vector<int> tokens;  // prompt, then what was drawn
  BlockTable blocks;        // position p is in blocks[p / block_size]
  int computed = 0;         // the first so many tokens are in the KV cache
  std::size_t end = 0;      // tokens that it stops at
};

// Rows of one sequence, behind those that the batch has already: all its tokens that are not
// computed. A prompt has many (prefill), a sequence that generates one (decode).
void add_rows(Sequence& sequence, BlockManager& pool, const RunnerInfo& info, Batch& batch) {
  const int end = static_cast<int>(sequence.tokens.size());
  const int blocks = (end + info.block_size - 1) / info.block_size;
  pool.allocate(sequence.blocks, blocks - static_cast<int>(sequence.blocks.size()));
  batch.sequences.push_back({.first_row = batch.rows(),
                             .query_length = end - sequence.computed,
                             .context_length = end,
                             .blocks = tables_of(info, sequence.blocks)});
  for (; sequence.computed < end; ++sequence.computed) {
    batch.tokens.push_back(sequence.tokens[sequence.computed]);
    batch.positions.push_back(sequence.computed);
  }
  batch.want_logits(batch.rows() - 1);  // what comes after its last token
}

// Computes all sequences to their ends, together: weights are read once a step for all of them.
void generate(ModelRunner& runner, BlockManager& pool, std::span<Sequence> sequences) {
  runner.resize_cache(CacheSize::of(runner.info(), pool.total()));
  Sampler sampler;
  SamplingParams greedy;
  greedy.temperature = 0;
  StepOutput output;
  for (;;) {
    std::vector<Sequence*> running;
    Batch batch;
    for (Sequence& sequence : sequences) {  // schedule
      if (sequence.tokens.size() == sequence.end) continue;
      add_rows(sequence, pool, runner.info(), batch);
      running.push_back(&sequence);
    }
    if (running.empty()) return;
    runner.launch(batch);  // run
    runner.wait(output);
    std::span<float> logits(output.logits);  // [running, vocab_size]
    const std::size_t vocabulary = runner.info().vocab_size;
    for (Sequence* sequence : running) {  // draw
      const auto drawn = sampler.draw(logits.first(vocabulary), {.params = &greedy});
      sequence->tokens.push_back(drawn->token);
      logits = logits.subspan(vocabulary);
      if (sequence->tokens.size() == sequence->end) pool.release(sequence->blocks);
    }
  }
}
