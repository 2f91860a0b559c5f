#pragma once

#include <string>
#include <string_view>

#include <boost/json/object.hpp>

#include "api/responses/conversation.h"
#include "api/responses/fields.h"
#include "base/error.h"

namespace mlxd::api::responses {

// The type that an item says it has; without one it is a message or names another item. "": none.
std::string_view item_type(const boost::json::object& in);

// Puts what an item says into the conversation, and tools that it declares into the fields. `place`
// is where it stands, for errors: "input[3]". Not for an item_reference.
Result<void> read_item(const boost::json::object& in, const std::string& place,
                       Conversation& conversation, Fields& fields);

}  // namespace mlxd::api::responses
