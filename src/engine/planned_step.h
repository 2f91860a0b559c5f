#pragma once

#include <cstddef>
#include <vector>

#include "engine/batch.h"
#include "engine/sequence.h"

namespace mlxd {

// One sequence's share of a step.
struct StepPart {
  Sequence* sequence = nullptr;
  int first = 0;        // position of its first row
  int rows = 0;         // tokens[first .. first + rows)
  int logit_rows = 0;   // those of them that give logits: the rows from first_logit on
  int first_logit = 0;  // position
  int copies = 0;       // its copy-on-write, a block in each KV group at most
  int first_copy = 0;   // of the step's
  int drafted = 0;      // the last so many rows are the beginning of its draft
  int draws = 0;        // rows that a token is drawn from: the last logit_rows
  int guess = -1;       // at what the last of these rows gives; -1: none
  // Where the runner draws, which of the step's draws are its own; set as they are asked for.
  int first_draw = 0, asked = 0;
  // Of a model with recurrent states, slots: with the state before its first row (-1: empty), and
  // for the one after its last row that is no guess. The same slot: in place.
  int state = -1, next_state = -1;
  int saves = 0;       // next_state among them
  int first_save = 0;  // of the step's

  int certain_end() const { return first + rows - drafted; }  // position after its certain rows
  bool in_place() const { return state >= 0 && state == next_state; }

  StepPart without_draft() const {
    StepPart plain = *this;
    plain.rows -= drafted;
    plain.logit_rows -= drafted;
    plain.draws -= drafted;
    plain.drafted = 0;
    plain.guess = -1;
    return plain;
  }
};

// A slot that gets a sequence's state after its first `length` tokens.
struct PlannedSave {
  int length = 0;
  int slot = 0;
};

// What is kept of a step until it is over, since parts of it may have to be repeated.
struct PlannedStep {
  std::vector<StepPart> parts;
  std::size_t first_prompt_part = 0;
  std::vector<BlockCopy> copies;
  std::vector<PlannedSave> saves;  // of each part ascending
  bool landed = false;             // the runner is done with it
};

}  // namespace mlxd
