// Status line and header of a reply, as bytes.
#pragma once
#include <string>
#include <string_view>

#include "http/message.hpp"

namespace fused {

struct ReplyFrame {
  std::string_view date;        // "Sun, 06 Nov 1994 08:49:37 GMT"
  std::string_view server;      // "fused/0.1.0"
  std::string_view request_id;  // may be empty
  bool keep_alive = true;
  bool say_keep_alive = false;  // HTTP/1.0 peers must be told
};

// Into `out` (cleared first). Adds Date, Server, X-Request-Id, nosniff, Referrer-Policy, Content-Length (of the body
// that a GET would get; none for 204, 304 and a body in pieces). Headers that belong to the connection, and names or
// values that would break the message (a function's own headers come through here), are left out.
void write_reply_head(const Reply& reply, const ReplyFrame& frame, std::string& out);

std::string_view reason_phrase(int status);
std::string http_date(WallTime time);

}  // namespace fused
