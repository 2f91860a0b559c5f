// Questions about texts, in llama-server's words and in vLLM's.
#include <string>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/scripted_api.h"

namespace mlxd::api {
namespace {

namespace json = boost::json;
using ::testing::HasSubstr;

class TextQuestions : public ScriptedApi {
 protected:
  TextQuestions() { model_->aliases.push_back("default"); }

  json::value ask(const std::string& path, const std::string& body) {
    const auto exchange = post(path, body);
    EXPECT_EQ(exchange->response_.status, 200) << exchange->response_.body;
    return json::parse(exchange->response_.body);
  }
  // The parameter that a 400 names.
  std::string refused(const std::string& path, const std::string& body, int status = 400) {
    const auto exchange = post(path, body);
    EXPECT_EQ(exchange->response_.status, status) << body;
    const auto error = json::parse(exchange->response_.body).at("error");
    EXPECT_FALSE(error.at("message").as_string().empty());
    return error.at("param").is_null() ? "" : std::string(error.at("param").as_string());
  }
};

json::value of(std::string_view text) { return json::parse(text); }

TEST_F(TextQuestions, TokenizeOfLlamaServer) {
  EXPECT_EQ(ask("/tokenize", R"({"content":"ABC"})"), of(R"({"tokens":[65,66,67]})"));
  EXPECT_EQ(ask("/tokenize", R"({"content":"A","add_special":true})"), of(R"({"tokens":[1,65]})"));
  EXPECT_EQ(ask("/tokenize", R"({"content":"A","parse_special":false,"model":"tiny"})"),
            of(R"({"tokens":[65,2]})"));
  EXPECT_EQ(ask("/tokenize", R"({"content":""})"), of(R"({"tokens":[]})"));
  EXPECT_EQ(ask("/tokenize", R"({"content":"Ac","with_pieces":true})"),
            of(R"({"tokens":[{"id":65,"piece":"<65>"},{"id":99,"piece":[195]}]})"));
}

TEST_F(TextQuestions, TokenizeOfVllm) {
  EXPECT_EQ(ask("/tokenize", R"({"prompt":"AB"})"),
            of(R"({"count":3,"max_model_len":2048,"tokens":[1,65,66],"token_strs":null})"));
  EXPECT_EQ(ask("/tokenize",
                R"({"model":"org/tiny","prompt":"A","add_special_tokens":false,
                    "return_token_strs":true})"),
            of(R"({"count":1,"max_model_len":2048,"tokens":[65],"token_strs":["<65>"]})"));
}

TEST_F(TextQuestions, TokenizeOfAChatIsAsTheChatEndpointCounts) {
  const std::string chat = R"("messages":[{"role":"user","content":"x"}],)"
                           R"("tools":[{"type":"function","function":{"name":"f"}}])";
  const auto counted =
      ask("/v1/chat/completions/input_tokens", R"({"model":"org/tiny",)" + chat + "}");
  EXPECT_EQ(counted.at("object"), "response.input_tokens");
  const auto whole =
      ask("/tokenize", "{" + chat + R"(,"add_special_tokens":false,"return_token_strs":false,
                                       "add_generation_prompt":true})");
  EXPECT_EQ(whole.at("count"), counted.at("input_tokens"));
  // The fake's tokens of a chat are the bytes of its messages.
  EXPECT_EQ(counted.at("input_tokens"), std::string(R"([{"role":"user","content":"x"}])").size());
}

TEST_F(TextQuestions, DetokenizeHasTheTextUnderBothNames) {
  EXPECT_EQ(ask("/detokenize", R"({"tokens":[5,6]})"),
            of(R"({"content":"<5><6>","prompt":"<5><6>"})"));
  EXPECT_EQ(ask("/detokenize", R"({"tokens":[],"model":"tiny"})"),
            of(R"({"content":"","prompt":""})"));
}

TEST_F(TextQuestions, ApplyTemplateRendersWhatAnAnswerWouldBeginWith) {
  EXPECT_EQ(ask("/apply-template", R"({"messages":[{"role":"user","content":"x"}]})"),
            json::value({{"prompt", R"([{"role":"user","content":"x"}])"}}));
}

TEST_F(TextQuestions, TokenizerInfoTellsTemplateAndSpecialTokens) {
  const auto info = of(R"({"model":"org/tiny","model_max_length":2048,"vocab_size":100,
                           "eos_token":"<eos>","chat_template":"{{ messages }}"})");
  EXPECT_EQ(json::parse(run("GET", "/tokenizer_info")->response_.body), info);
  EXPECT_EQ(ask("/tokenizer_info", R"({"model":"tiny"})"), info);
  model_->card.chat_template.clear();
  EXPECT_TRUE(ask("/tokenizer_info", "{}").at("chat_template").is_null());
}

TEST_F(TextQuestions, RefuseByName) {
  struct Case {
    const char *path, *body, *param;
  };
  for (const Case& each : {
           Case{"/tokenize", R"({})", "content"},
           Case{"/tokenize", R"({"content":"a","prompt":"b"})", "content"},
           Case{"/tokenize", R"({"content":null})", "content"},
           Case{"/tokenize", R"({"content":5})", "content"},
           Case{"/tokenize", R"({"content":"a","add_special":1})", "add_special"},
           Case{"/tokenize", R"({"content":"a","add_special_tokens":true})", "add_special_tokens"},
           Case{"/tokenize", R"({"content":"a","with_pieces":"yes"})", "with_pieces"},
           Case{"/tokenize", R"({"content":"a","model":7})", "model"},
           Case{"/tokenize", R"({"prompt":["a"]})", "prompt"},
           Case{"/tokenize", R"({"prompt":"a","with_pieces":true})", "with_pieces"},
           Case{"/tokenize", R"({"prompt":"a","return_token_strs":0})", "return_token_strs"},
           Case{"/tokenize", R"({"messages":[]})", "messages"},
           Case{"/tokenize", R"({"messages":[{"role":"x"}]})", "messages[0].role"},
           Case{"/tokenize",
                R"({"messages":[{"role":"user","content":"x"}],"add_special_tokens":true})",
                "add_special_tokens"},
           Case{"/tokenize", R"([])", ""},
           Case{"/detokenize", R"({})", "tokens"},
           Case{"/detokenize", R"({"tokens":"5"})", "tokens"},
           Case{"/detokenize", R"({"tokens":[1.5]})", "tokens"},
           Case{"/detokenize", R"({"tokens":[-1]})", "tokens"},
           Case{"/detokenize", R"({"tokens":[100]})", "tokens"},
           Case{"/detokenize", R"({"tokens":[99999999999]})", "tokens"},
           Case{"/detokenize", R"({"tokens":[],"text":1})", "text"},
           Case{"/apply-template", R"({})", "messages"},
           Case{"/apply-template", R"({"messages":[{"role":"user","content":"x"}],"speed":1})",
                "speed"},
           Case{"/v1/chat/completions/input_tokens",
                R"({"messages":[{"role":"user","content":"x"}]})", "model"},
           Case{"/tokenizer_info", R"({"verbose":true})", "verbose"},
       }) {
    EXPECT_EQ(refused(each.path, each.body), each.param) << each.path << " " << each.body;
  }
  EXPECT_EQ(refused("/tokenize", R"({"content":"a","model":"other"})", 404), "model");
  EXPECT_EQ(refused("/tokenizer_info", R"({"model":"other"})", 404), "model");
}

TEST_F(TextQuestions, LenientServersLetUnknownKeysPass) {
  options_.lenient = true;
  EXPECT_EQ(ask("/tokenize", R"({"content":"A","speed":1})"), of(R"({"tokens":[65]})"));
}

}  // namespace
}  // namespace mlxd::api
