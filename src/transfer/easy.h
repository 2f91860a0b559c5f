// transfer: what all requests that this program makes itself have in common, over libcurl: their
// handles, the certificates that they check others by, and which failures may pass. hub/ fetches
// models with it, tracing/ sends spans. http/ is the other side, and knows nothing of it.
#pragma once

#include <memory>

#include <curl/curl.h>

namespace mlxd::transfer {

struct EasyDeleter {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
using Easy = std::unique_ptr<CURL, EasyDeleter>;

struct HeaderListDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using HeaderList = std::unique_ptr<curl_slist, HeaderListDeleter>;

// A handle that leaves signals alone. Any thread; `error` holds CURL_ERROR_SIZE bytes, empty at
// first, and outlives the handle. Throws StartupError.
Easy make_easy(char* error);

// Whether it may go better the next time.
bool is_passing(CURLcode code);

}  // namespace mlxd::transfer
