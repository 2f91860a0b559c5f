#include "serve/text_delta.h"

#include <iterator>
#include <utility>

namespace mlxd {
namespace {

template <class T>
void move_to_end(std::vector<T>& to, std::vector<T>&& from) {
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

}  // namespace

void append(ChoiceText& choice, TextDelta delta) {
  const auto continues = [&](const TextDelta& last) {
    const bool says_nothing = delta.text.empty() && delta.details.empty();
    return says_nothing || (last.channel == delta.channel && last.call == delta.call);
  };
  if (choice.empty() || !continues(choice.back())) {
    choice.push_back(std::move(delta));
    return;
  }
  TextDelta& last = choice.back();
  last.text += delta.text;
  move_to_end(last.details, std::move(delta.details));
  move_to_end(last.offsets, std::move(delta.offsets));
  if (delta.finish) {
    last.finish = delta.finish;
    last.stop = std::move(delta.stop);
  }
}

}  // namespace mlxd
