#include "hub/http.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mlxd::hub {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(AnswerHeaders, KeepWhatTheHubSaidBeforeItSentOn) {
  AnswerHeaders headers;
  for (const char* line :
       {"HTTP/1.1 302 Found\r\n", "x-repo-commit: abc\r\n", "X-Linked-Size: 7\r\n",
        "X-Linked-ETag: \"hash\"\r\n", "X-Error-Code: Odd\r\n", "HTTP/1.1 206 Partial\r\n",
        "X-Repo-Commit: other\r\n", "Content-Range:  bytes 0-6/7 \r\n", "Retry-After: 9\r\n",
        "no header\r\n", "Empty:\r\n"}) {
    headers.read(line);
  }
  EXPECT_EQ(headers.commit, "abc");
  EXPECT_EQ(headers.linked_size, "7");
  EXPECT_EQ(headers.linked_etag, "hash");
  EXPECT_EQ(headers.error_code, "");
  EXPECT_EQ(headers.content_range, "bytes 0-6/7");
  EXPECT_EQ(headers.retry_after, 9);
}

TEST(AnswerHeaders, BoundTheTimeToWait) {
  AnswerHeaders headers;
  headers.read("Retry-After: 2000000000\r\n");
  EXPECT_EQ(headers.retry_after, 24 * 3600);
  headers.read("Retry-After: -5\r\n");
  EXPECT_EQ(headers.retry_after, 0);
  headers.read("Retry-After: Wed, 21 Oct 2026 07:28:00 GMT\r\n");
  EXPECT_EQ(headers.retry_after, 0);
}

TEST(Refusal, NamesTheTokenOnlyWhereThereIsOne) {
  Settings settings;
  const HubId id = parse_hub_id("org/name");
  AnswerHeaders headers;
  headers.error_code = "GatedRepo";
  const std::string without = refusal(settings, id, "list of files", 403, headers);
  EXPECT_THAT(without, HasSubstr("https://huggingface.co/org/name"));
  EXPECT_THAT(without, HasSubstr("set HF_TOKEN"));
  settings.token = "hf_secret";
  const std::string with = refusal(settings, id, "list of files", 403, headers);
  EXPECT_THAT(with, Not(HasSubstr("set HF_TOKEN")));
  EXPECT_THAT(with, Not(HasSubstr("hf_secret")));
}

}  // namespace
}  // namespace mlxd::hub
