// The request target: "/path?query" as sent → path and query that cannot be wrong (well-formed, UTF-8, no NUL).
#pragma once
#include <string>
#include <string_view>

#include "http/message.hpp"

namespace fused {

struct Target {
  std::string_view raw_path;   // of the text given, still percent-encoded
  std::string_view raw_query;  // behind the first '?'
  std::string_view authority;  // of an absolute-form target ("http://host:port/…"), else empty
  std::string path;            // percent-decoded once
  Query query;                 // '+' is a space
};

// invalid_argument for: not beginning with '/' (or http://host/), a fragment, bad percent-encoding, an encoded NUL,
// text that is not UTF-8, a '.' or '..' segment (encoded or not), a backslash or control character, more than 10,000
// parameters. The views point into `text`.
Result<Target> parse_target(std::string_view text);

// Of text that has been checked; what is malformed stays as it is.
std::string percent_decoded(std::string_view text);

}  // namespace fused
