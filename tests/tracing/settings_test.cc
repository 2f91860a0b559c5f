#include "tracing/settings.h"

#include <cstdlib>
#include <map>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace mlxd::tracing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;

class TracingSettings : public ::testing::Test {
 protected:
  ~TracingSettings() override {
    for (const auto& [name, value] : set_) unsetenv(name.c_str());
  }
  void set(const std::string& name, const std::string& value) {
    set_[name] = value;
    setenv(name.c_str(), value.c_str(), 1);
  }
  std::optional<Settings> read(const std::string& option = "") {
    warnings_.clear();
    return settings_from_environment(option, warnings_);
  }
  std::string failure(const std::string& option = "") {
    try {
      read(option);
    } catch (const StartupError& error) {
      return error.what();
    }
    return "";
  }

  std::map<std::string, std::string> set_;
  std::vector<std::string> warnings_;
};

TEST_F(TracingSettings, AreNoneUnlessAnEndpointIsGiven) {
  EXPECT_FALSE(read());
  set("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:4318");
  EXPECT_TRUE(read());
  set("OTEL_TRACES_EXPORTER", "none");
  EXPECT_FALSE(read());
  EXPECT_FALSE(read("http://b:4318"));
  set("OTEL_TRACES_EXPORTER", "otlp");
  EXPECT_TRUE(read());
  set("OTEL_SDK_DISABLED", "True");
  EXPECT_FALSE(read("http://b:4318"));
}

TEST_F(TracingSettings, TakeTheOptionBeforeTheTracesOwnEndpointBeforeThatOfAll) {
  set("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4318/prefix/");
  EXPECT_EQ(read()->url, "http://all:4318/prefix/v1/traces");
  set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces/as/it/is");
  EXPECT_EQ(read()->url, "https://traces/as/it/is");
  EXPECT_EQ(read("http://option:4318")->url, "http://option:4318/v1/traces");
}

TEST_F(TracingSettings, RefuseAnAddressThatIsNone) {
  for (const char* text :
       {"localhost:4318", "grpc://host", "http://", "http:///v1", "http://a b"}) {
    EXPECT_THAT(failure(text), HasSubstr("--otlp-endpoint is \"" + std::string(text) + "\""));
  }
  set("OTEL_EXPORTER_OTLP_ENDPOINT", "collector");
  EXPECT_THAT(failure(), HasSubstr("OTEL_EXPORTER_OTLP_ENDPOINT is \"collector\""));
  set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "ftp://user:secret@host");
  EXPECT_THAT(failure(), HasSubstr("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is \"ftp://host\""));
}

TEST_F(TracingSettings, HaveTheDefaultsOfOpenTelemetry) {
  const auto settings = read("http://a:4318");
  EXPECT_THAT(settings->headers, IsEmpty());
  EXPECT_THAT(settings->resource, ElementsAre(Pair("service.name", "mlxd")));
  EXPECT_TRUE(settings->sampler.follows_parent);
  EXPECT_EQ(settings->sampler.ratio, 1);
  EXPECT_EQ(settings->timeout_seconds, 10);
  EXPECT_EQ(settings->delay_seconds, 5);
  EXPECT_EQ(settings->queue_spans, 2048u);
  EXPECT_EQ(settings->batch_spans, 512u);
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(TracingSettings, AreReadFromItsVariables) {
  set("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abc, x-tenant = one ,");
  set("OTEL_SERVICE_NAME", "chat");
  set("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,deployment.environment.name=a%2Cb");
  set("OTEL_TRACES_SAMPLER", "traceidratio");
  set("OTEL_TRACES_SAMPLER_ARG", "0.25");
  set("OTEL_EXPORTER_OTLP_TIMEOUT", "2500");
  set("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem");
  set("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
  set("OTEL_BSP_SCHEDULE_DELAY", "200");
  set("OTEL_BSP_MAX_QUEUE_SIZE", "64");
  const auto settings = read("http://a:4318");
  EXPECT_THAT(settings->headers,
              ElementsAre(Pair("authorization", "Bearer abc"), Pair("x-tenant", "one")));
  EXPECT_THAT(settings->resource, ElementsAre(Pair("service.name", "chat"),
                                              Pair("deployment.environment.name", "a,b")));
  EXPECT_FALSE(settings->sampler.follows_parent);
  EXPECT_EQ(settings->sampler.ratio, 0.25);
  EXPECT_EQ(settings->timeout_seconds, 2.5);
  EXPECT_EQ(settings->certificates, "/ca.pem");
  EXPECT_EQ(settings->delay_seconds, 0.2);
  EXPECT_EQ(settings->queue_spans, 64u);
  EXPECT_EQ(settings->batch_spans, 64u) << "no batch is larger than the queue";
  EXPECT_THAT(warnings_, IsEmpty());
  set("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "only=this");
  EXPECT_THAT(read("http://a:4318")->headers, ElementsAre(Pair("only", "this")));
}

TEST_F(TracingSettings, WarnOfAVariableThatCannotBeUsedAndGoOn) {
  const std::map<std::string, std::string> bad = {
      {"OTEL_TRACES_SAMPLER", "jaeger_remote"},
      {"OTEL_EXPORTER_OTLP_HEADERS", "authorization: secret"},
      {"OTEL_RESOURCE_ATTRIBUTES", "a=%4"},
      {"OTEL_EXPORTER_OTLP_TIMEOUT", "10s"},
      {"OTEL_BSP_MAX_QUEUE_SIZE", "-1"},
      {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"},
  };
  for (const auto& [name, value] : bad) {
    set(name, value);
    ASSERT_TRUE(read("http://a:4318"));
    ASSERT_EQ(warnings_.size(), 1u) << name;
    EXPECT_THAT(warnings_[0], HasSubstr(name));
    EXPECT_THAT(warnings_[0], Not(HasSubstr("secret")));
    unsetenv(name.c_str());
  }
  set("OTEL_TRACES_SAMPLER", "parentbased_traceidratio");
  set("OTEL_TRACES_SAMPLER_ARG", "2");
  EXPECT_EQ(read("http://a:4318")->sampler.ratio, 1);
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("OTEL_TRACES_SAMPLER_ARG is \"2\"")));
}

TEST_F(TracingSettings, LetNoHeaderBeginAnother) {
  set("OTEL_EXPORTER_OTLP_HEADERS", "a=b%0D%0Ax: y");
  EXPECT_THAT(read("http://a:4318")->headers, IsEmpty());
  EXPECT_EQ(warnings_.size(), 1u);
}

TEST(WithoutCredentials, IsTheAddressForTheLog) {
  EXPECT_EQ(without_credentials("http://user:pass@host:1/v1@x"), "http://host:1/v1@x");
  EXPECT_EQ(without_credentials("http://host/a@b"), "http://host/a@b");
}

}  // namespace
}  // namespace mlxd::tracing
