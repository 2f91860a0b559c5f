#include "engine/request_shared.h"

#include "engine/sequence.h"

namespace mlxd {

// Here, where Request is a complete type.
Inbox::Inbox(std::size_t capacity) : arrivals(capacity) {}
Inbox::~Inbox() = default;

}  // namespace mlxd
