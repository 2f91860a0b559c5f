#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "hub/hub_id.h"
#include "hub/settings.h"
#include "transfer/easy.h"

namespace mlxd::hub {

// Asked now and then while something is under way: true ends it.
using Stopped = std::function<bool()>;

// What ends a pull that was told to stop. What it has stays, and the next one goes on from there.
class Interrupted : public StartupError {
 public:
  using StartupError::StartupError;
};

using transfer::Easy;
using transfer::HeaderList;

// A request of the hub at `url`, of which nothing has been sent: https, unless the endpoint itself
// is not; a few redirects, on which another host does not see the token; proxies as curl's
// variables say. `error` holds CURL_ERROR_SIZE bytes; it and `headers` outlive the handle.
Easy make_request(const Settings& settings, const std::string& url, char* error,
                  HeaderList& headers);

// What the headers of an answer say.
struct AnswerHeaders {
  // The hub says these of a file, and then sends on to where it is: the first ones count.
  std::string commit;       // X-Repo-Commit
  std::string linked_etag;  // X-Linked-Etag, without quotation marks
  std::string linked_size;  // X-Linked-Size
  // Those of the last answer.
  std::string error_code;     // X-Error-Code: "GatedRepo", "RevisionNotFound"
  std::string content_range;  // Content-Range
  double retry_after = 0;     // seconds

  void read(std::string_view line);
};

// For CURLOPT_HEADERFUNCTION, with an AnswerHeaders*.
std::size_t read_header(char* data, std::size_t size, std::size_t count, void* headers);

struct Answer {
  long status = 0;
  AnswerHeaders headers;
  std::string body;
};

// GETs a text of `most_bytes` at most, and tries again when the connection fails. Throws
// StartupError, or Interrupted.
Answer get(const Settings& settings, const std::string& url, std::size_t most_bytes,
           const Stopped& stopped);

// Whether it may go better the next time.
using transfer::is_passing;
bool is_passing_status(long status);

// What kept a request from being answered: "huggingface.co cannot be reached: ...".
std::string failure(const Settings& settings, CURLcode code, const char* error);

// The sentence for a status that is no success, with what to do about it. `what` is what was asked
// for.
std::string refusal(const Settings& settings, const HubId& id, std::string_view what, long status,
                    const AnswerHeaders& headers);

// A path as it stands in an address: each part escaped, slashes kept or not.
std::string escaped(std::string_view text, bool keep_slashes);

}  // namespace mlxd::hub
