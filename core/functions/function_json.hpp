// A function's JSON (client-protocol.md §3, `udf_body` and the `udf` of a step) → FunctionSource. The Python in it is
// not looked at: the server never parses users' code.
#pragma once
#include <boost/json/object.hpp>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "functions/function_source.hpp"

namespace fused {

// unprocessable names the member that is missing or of the wrong type. code_hash is filled in; id, revision and owner
// are the caller's. `cache_max_age` is taken from its field: whole seconds or "48h".
Result<FunctionSource> function_of_json(const boost::json::object& udf);
// The same from text. It must be a JSON object, nested at most 64 deep.
Result<FunctionSource> function_of_text(std::string_view json_text);
// The other direction, for functions that come as a file.
std::string json_of_function(const FunctionSource& source);

// SHA-256 over code, entry point and headers, each with its length, so that no code can be taken for other code.
std::string code_hash_of(const FunctionSource& source);

// What a saved function may be called: 1 to 255 bytes of UTF-8; letters and digits of any script, space, and
// _ - . ( ) + , @ ~ ; not beginning with '.' or a space, not ending with a space; no emoji, symbols or private
// characters. invalid_argument names the value, the character and the rule.
Status check_function_name(std::string_view name);

}  // namespace fused
