#pragma once

#include <string_view>

namespace mlxd::web {

// Whether an Accept-Encoding header (RFC 9110, 12.5.3) allows a content coding, such as "br".
bool accepts_encoding(std::string_view header, std::string_view coding);

// Whether an Accept header asks for HTML by name, as browsers do and programs do not.
bool asks_for_html(std::string_view accept);

// Whether an If-None-Match header names this entity tag, which has its quotes.
bool names_tag(std::string_view if_none_match, std::string_view tag);

}  // namespace mlxd::web
