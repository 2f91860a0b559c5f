#pragma once

namespace mlxd {

// One visitor out of several functions, for std::visit over a closed variant. Written without a
// function for "all else", it does not compile until a new alternative is dealt with.
template <class... Visitors>
struct Overloaded : Visitors... {
  using Visitors::operator()...;
};

template <class... Visitors>
Overloaded(Visitors...) -> Overloaded<Visitors...>;

}  // namespace mlxd
