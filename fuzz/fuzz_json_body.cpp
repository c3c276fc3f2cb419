// JSON bodies of the routes that take one: a step_config, a UDF record, and what endpoints read from them.
#include <boost/json/parse.hpp>
#include <cstdint>
#include <string_view>

#include "functions/function_json.hpp"
#include "run/run_request.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace fused;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)parse_step_config(text);
  (void)parse_format_list(text);
  boost::system::error_code error;
  const auto value = boost::json::parse({text.data(), text.size()}, error);
  if (!error && value.is_object()) (void)function_of_json(value.get_object());
  return 0;
}
