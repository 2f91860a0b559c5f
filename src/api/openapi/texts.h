#pragma once

#include <string_view>

namespace mlxd::api::openapi {

// Files of this folder, in JSON: the document without what the tables say, the forms of fields that
// are no simple rule, and the answers.
extern const std::string_view kSkeleton, kFields, kAnswers;

}  // namespace mlxd::api::openapi
