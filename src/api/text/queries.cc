#include "api/text/queries.h"

#include "api/api.h"

namespace mlxd::api {

std::vector<std::unique_ptr<Query>> text_queries(const ApiOptions& options) {
  std::vector<std::unique_ptr<Query>> queries;
  queries.push_back(tokenize_query(options.lenient));
  queries.push_back(detokenize_query(options.lenient));
  queries.push_back(apply_template_query(options.lenient));
  queries.push_back(count_chat_query(options.lenient));
  queries.push_back(tokenizer_info_query(options.lenient, "GET"));
  queries.push_back(tokenizer_info_query(options.lenient, "POST"));
  return queries;
}

}  // namespace mlxd::api
