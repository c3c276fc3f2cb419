// One request from a connection's bytes, strictly: what two parsers could read differently is refused. The only place
// that knows Beast.
#pragma once
#include <cstdint>
#include <memory>
#include <string_view>

#include "http/limits.hpp"
#include "http/message.hpp"

namespace fused {

enum class ParseStep {
  need_more,  // all bytes that are there have been looked at
  header,     // method, target and headers are in the Request; feed() again for the body
  done,       // the whole request; bytes behind it belong to the next
  failed,     // error() says why; the connection cannot go on
};

class RequestParser {
 public:
  explicit RequestParser(const HttpLimits& limits);
  ~RequestParser();

  // Begins a request; its parts go into `request`, which must stay where it is until done or failed.
  void begin(Request& request);
  // `bytes`: everything unused so far. `used` of them are done with.
  ParseStep feed(std::string_view bytes, std::size_t& used);
  // After `header`: what the row allows; too_large when Content-Length already says more.
  Status limit_body(std::int64_t bytes);

  const Error& error() const;
  bool started() const;           // a byte of the request has been seen
  bool keep_alive() const;        // after `header`
  bool expects_continue() const;  // after `header`: the peer waits for 100 before it sends the body
  bool has_body() const;          // after `header`: and the body is not complete yet

 private:
  struct Message;
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fused
