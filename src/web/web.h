// web: the page that people open in a browser, built from web/ into files that are part of the
// program, and how they are sent: compressed where the browser takes it, with entity tags, under a
// content security policy that lets the page load and ask nothing but this server. It knows HTTP
// alone; what the page shows comes from the API, as for any other client. cli/ mounts it.
#pragma once

#include "http/router.h"

namespace mlxd::web {

// Adds the routes of the page's parts, "/assets/...", which need no key: who has none can see the
// page that asks for it. The page itself shares its address with what programs find there.
void mount_assets(http::Router& router);

// A handler that answers browsers (`Accept: text/html`) with the page, and all others as `other`
// does.
http::Handler page_or(http::Handler other);

}  // namespace mlxd::web
