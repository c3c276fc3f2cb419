#include "base/json_parse.hpp"

#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/value_stack.hpp>
#include <charconv>
#include <limits>

namespace fused {
namespace json = boost::json;
namespace {

using ErrorCode = boost::system::error_code;

// What basic_parser calls; the text is whole, so that no number comes in parts.
struct Builder {
  static constexpr std::size_t max_object_size = std::size_t(-1);
  static constexpr std::size_t max_array_size = std::size_t(-1);
  static constexpr std::size_t max_key_size = std::size_t(-1);
  static constexpr std::size_t max_string_size = std::size_t(-1);

  json::value_stack values;
  std::string too_large;

  bool on_document_begin(ErrorCode&) { return values.reset(), true; }
  bool on_document_end(ErrorCode&) { return true; }
  bool on_object_begin(ErrorCode&) { return true; }
  bool on_object_end(std::size_t count, ErrorCode&) { return values.push_object(count), true; }
  bool on_array_begin(ErrorCode&) { return true; }
  bool on_array_end(std::size_t count, ErrorCode&) { return values.push_array(count), true; }
  bool on_key_part(json::string_view text, std::size_t, ErrorCode&) { return values.push_chars(text), true; }
  bool on_key(json::string_view text, std::size_t, ErrorCode&) { return values.push_key(text), true; }
  bool on_string_part(json::string_view text, std::size_t, ErrorCode&) { return values.push_chars(text), true; }
  bool on_string(json::string_view text, std::size_t, ErrorCode&) { return values.push_string(text), true; }
  bool on_number_part(json::string_view, ErrorCode&) { return true; }
  bool on_int64(std::int64_t number, json::string_view, ErrorCode&) { return values.push_int64(number), true; }
  bool on_uint64(std::uint64_t number, json::string_view, ErrorCode&) { return values.push_uint64(number), true; }
  bool on_bool(bool yes, ErrorCode&) { return values.push_bool(yes), true; }
  bool on_null(ErrorCode&) { return values.push_null(), true; }
  bool on_comment_part(json::string_view, ErrorCode&) { return true; }
  bool on_comment(json::string_view, ErrorCode&) { return true; }

  bool on_double(double number, json::string_view text, ErrorCode& error) {
    if (text.find_first_of(".eE") == json::string_view::npos) {
      too_large.assign(text.data(), std::min<std::size_t>(text.size(), 60));
      error = json::make_error_code(json::error::exponent_overflow);
      return false;
    }
    // Leaves `number` as it is where the exact value is out of range: Boost's is then 0 or infinite, which is right.
    (void)std::from_chars(text.data(), text.data() + text.size(), number);
    return values.push_double(number), true;
  }
};

}  // namespace

Result<json::value> parse_json(std::string_view text, std::size_t depth_max) {
  json::parse_options options;
  options.max_depth = depth_max;
  json::basic_parser<Builder> parser(options);
  ErrorCode error;
  const std::size_t used = parser.write_some(false, text.data(), text.size(), error);
  if (!error && used < text.size()) error = json::make_error_code(json::error::extra_data);
  if (!error && !parser.done()) error = json::make_error_code(json::error::incomplete);
  if (!parser.handler().too_large.empty())
    return fail(ErrorKind::invalid_argument, "the whole number " + parser.handler().too_large +
                                                 " does not fit into 64 bits; send it as text (in quotes)");
  if (error) return fail(ErrorKind::invalid_argument, error.message() + " at byte " + std::to_string(used));
  return parser.handler().values.release();
}

}  // namespace fused
