#include "http/request_parser.hpp"

#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <cstring>
#include <optional>

#include "base/text.hpp"

namespace fused {
namespace {

namespace http = boost::beast::http;
using boost::beast::error_code;
using BeastText = boost::beast::string_view;

// Longest method, the spaces, version and line end around a target.
constexpr std::size_t kRequestLineExtra = 64;
constexpr std::size_t kBodyReserveBytes = 1 << 20;
// "0\r\n\r\n": no chunked body ends with less. Beast 1.81 asserts that it is never called with a part of it after
// "0\r\n".
constexpr std::size_t kLastChunkBytes = 5;

Error malformed(std::string what) {
  return {ErrorKind::invalid_argument, "the request is malformed: " + std::move(what), {}};
}

std::string in_lower_case(BeastText text) {
  std::string lower(text);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return lower;
}

// HTTP's old default for bytes that are not UTF-8 is Latin-1; inside, text is UTF-8.
std::string utf8_value(BeastText value) {
  if (is_utf8(value)) return std::string(value);
  std::string out;
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) {
      out.push_back(c);
    } else {
      out.push_back(static_cast<char>(0xc0 | byte >> 6));
      out.push_back(static_cast<char>(0x80 | (byte & 0x3f)));
    }
  }
  return out;
}

std::optional<Method> method_of(http::verb verb) {
  switch (verb) {
    case http::verb::get: return Method::get;
    case http::verb::head: return Method::head;
    case http::verb::post: return Method::post;
    case http::verb::put: return Method::put;
    case http::verb::delete_: return Method::delete_;
    case http::verb::options: return Method::options;
    case http::verb::patch: return Method::patch;
    default: return std::nullopt;
  }
}

}  // namespace

struct RequestParser::Message final : http::basic_parser<true> {
  Message(Request& request, const HttpLimits& limits) : request_(request), limits_(limits) {
    header_limit(static_cast<std::uint32_t>(limits.uri_bytes_max + limits.header_bytes_max + kRequestLineExtra));
    body_limit(boost::none);
  }

  std::optional<Error> error;
  bool line_done = false;
  bool header_done = false;
  bool expects_continue = false;
  bool chunked = false;
  std::size_t framing_bytes = 0;

 private:
  void refuse(Error why, error_code& ec) {
    error = std::move(why);
    ec = http::error::bad_field;
  }

  void on_request_impl(http::verb verb, BeastText method, BeastText target, int version, error_code& ec) override {
    line_done = true;
    version_ = version;
    if (target.size() > limits_.uri_bytes_max)
      return refuse(
          {ErrorKind::uri_too_long,
           "the URL has " + std::to_string(target.size()) + " bytes; at most " + std::to_string(limits_.uri_bytes_max) +
               " are read. Send large parameters as a JSON body (POST)",
           {}},
          ec);
    const auto known = method_of(verb);
    if (!known)
      return refuse({ErrorKind::method_not_allowed,
                     "the method '" + printable(method.substr(0, 40)) +
                         "' is not known; GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS are",
                     {}},
                    ec);
    request_.method = *known;
    request_.target.assign(target.data(), target.size());
  }

  void on_field_impl(http::field field, BeastText name, BeastText value, error_code& ec) override {
    if (header_done) return;  // a trailer: nothing here listens to one
    if (request_.headers.size() >= limits_.header_fields_max)
      return refuse({ErrorKind::header_too_large,
                     "the request has more than " + std::to_string(limits_.header_fields_max) + " header fields",
                     {}},
                    ec);
    if (field == http::field::host && ++hosts_ > 1) return refuse(malformed("it has more than one Host"), ec);
    if (field == http::field::content_length && (++lengths_ > 1 || value.find(',') != BeastText::npos))
      return refuse(malformed("it has more than one Content-Length"), ec);
    if (field == http::field::transfer_encoding) {
      chunked = true;
      if (version_ < 11 || !boost::beast::iequals(value, "chunked"))
        return refuse(malformed("Transfer-Encoding is '" + printable(value.substr(0, 40)) +
                                "'; only 'chunked' in HTTP/1.1 is read"),
                      ec);
    }
    if (field == http::field::expect) {
      expects_continue = boost::beast::iequals(value, "100-continue") && version_ >= 11;
      if (!expects_continue)
        return refuse(malformed("Expect is '" + printable(value.substr(0, 40)) + "'; only '100-continue' is known"),
                      ec);
    }
    request_.headers.emplace_back(in_lower_case(name), utf8_value(value));
  }

  void on_header_impl(error_code& ec) override {
    header_done = true;
    if (version_ >= 11 && hosts_ == 0) refuse(malformed("it has no Host"), ec);
  }

  void on_body_init_impl(const boost::optional<std::uint64_t>& length, error_code&) override {
    if (length) request_.body.reserve(std::min<std::size_t>(*length, kBodyReserveBytes));
  }
  std::size_t on_body_impl(BeastText bytes, error_code&) override {
    request_.body.append(bytes.data(), bytes.size());
    return bytes.size();
  }
  void on_chunk_header_impl(std::uint64_t, BeastText, error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, BeastText bytes, error_code& ec) override {
    return on_body_impl(bytes, ec);
  }
  void on_finish_impl(error_code&) override {}
  void on_response_impl(int, BeastText, int, error_code&) override {}

  Request& request_;
  const HttpLimits& limits_;
  int version_ = 0;
  int hosts_ = 0;
  int lengths_ = 0;
};

struct RequestParser::State {
  const HttpLimits& limits;
  Request* request = nullptr;
  std::optional<Message> message;
  Error error;
  std::int64_t body_bytes_max = 0;
  std::size_t header_bytes = 0;  // used so far, with the first line
  std::size_t line_bytes = 0;    // the first line, once its end has been seen
  std::size_t scanned = 0;       // of the unused bytes, without a line end in them
  bool started = false;
  bool line_skipped = false;
  bool header_reported = false;

  ParseStep fail_with(Error why) {
    error = std::move(why);
    return ParseStep::failed;
  }
  Error url_too_long() const {
    return {ErrorKind::uri_too_long,
            "the URL has more than " + std::to_string(limits.uri_bytes_max) +
                " bytes. Send large parameters as a JSON body (POST)",
            {}};
  }
  std::optional<Error> header_too_large(std::size_t header_total) const;
  std::optional<Error> refuse_header(std::string_view unused);
  ParseStep feed_header(std::string_view bytes, std::size_t& used);
  ParseStep feed_body(std::string_view bytes, std::size_t& used);
  ParseStep translate(const error_code& ec);
};

RequestParser::RequestParser(const HttpLimits& limits) : state_(new State{.limits = limits, .error = {}}) {}
RequestParser::~RequestParser() = default;

void RequestParser::begin(Request& request) {
  State& s = *state_;
  s.request = &request;
  s.message.emplace(request, s.limits);
  s.body_bytes_max = s.limits.body_bytes_max;
  s.header_bytes = s.line_bytes = s.scanned = 0;
  s.started = s.line_skipped = s.header_reported = false;
}

std::optional<Error> RequestParser::State::header_too_large(std::size_t header_total) const {
  if (header_total <= limits.header_bytes_max) return std::nullopt;
  return Error{ErrorKind::header_too_large,
               "the header fields have more than " + std::to_string(limits.header_bytes_max) + " bytes",
               {}};
}

// While the header is not complete: is it too large already? Says which part is.
std::optional<Error> RequestParser::State::refuse_header(std::string_view unused) {
  if (line_bytes == 0) {
    const auto end = unused.find('\n', scanned);
    scanned = unused.size();
    if (end == std::string_view::npos) {
      if (unused.size() <= limits.uri_bytes_max + kRequestLineExtra) return std::nullopt;
      return url_too_long();
    }
    line_bytes = end + 1;
  }
  const auto total = header_bytes + unused.size();
  return header_too_large(total > line_bytes ? total - line_bytes : 0);
}

ParseStep RequestParser::State::translate(const error_code& ec) {
  if (message->error) return fail_with(std::move(*message->error));
  if (ec == http::error::body_limit)
    return fail_with({ErrorKind::too_large,
                      "the body has more than the " + std::to_string(body_bytes_max) + " bytes allowed here",
                      {}});
  if (ec == http::error::header_limit)
    return fail_with(line_bytes == 0 || line_bytes > limits.uri_bytes_max + kRequestLineExtra
                         ? url_too_long()
                         : Error{ErrorKind::header_too_large, "the header is larger than the limits allow", {}});
  return fail_with(malformed(ec.message()));
}

ParseStep RequestParser::State::feed_header(std::string_view bytes, std::size_t& used) {
  const bool may_skip = !started && !line_skipped;
  if (may_skip && bytes.starts_with("\r\n")) {  // RFC 9112 2.2: an empty line in front is to be ignored
    line_skipped = true;
    used = 2;
    bytes.remove_prefix(2);
  }
  if (bytes.empty() || (may_skip && used == 0 && bytes == "\r")) return ParseStep::need_more;
  started = true;
  if (line_bytes == 0)
    if (const auto end = bytes.find('\n', scanned); end != std::string_view::npos) line_bytes = end + 1;
  error_code ec;
  const auto taken = message->put({bytes.data(), bytes.size()}, ec);
  const auto seen = bytes.substr(0, taken);
  for (std::size_t at = seen.find('\n'); at != std::string_view::npos && at + 1 < seen.size();
       at = seen.find('\n', at + 1))
    if (seen[at + 1] == ' ' || seen[at + 1] == '\t')
      return fail_with(malformed("a header field is folded over two lines"));
  used += taken;
  header_bytes += taken;
  if (taken > 0) scanned = 0;
  if (ec && ec != http::error::need_more) return translate(ec);
  if (!message->header_done) {
    if (auto why = refuse_header(bytes.substr(taken))) return fail_with(std::move(*why));
    return ParseStep::need_more;
  }
  if (auto why = header_too_large(header_bytes - line_bytes)) return fail_with(std::move(*why));
  message->eager(true);
  message->body_limit(static_cast<std::uint64_t>(body_bytes_max));
  header_reported = true;
  return ParseStep::header;
}

ParseStep RequestParser::State::feed_body(std::string_view bytes, std::size_t& used) {
  if (message->is_done()) return ParseStep::done;
  const auto body_before = request->body.size();
  error_code ec;
  // Beast wants to be called again after each step until it needs more.
  while (used < bytes.size() && !ec && !message->is_done()) {
    const auto rest = bytes.substr(used);
    if (message->chunked && rest.size() < kLastChunkBytes) break;
    used += message->put({rest.data(), rest.size()}, ec);
  }
  if (ec && ec != http::error::need_more) return translate(ec);
  if (message->chunked) {
    message->framing_bytes += used - (request->body.size() - body_before);
    if (message->framing_bytes > limits.chunk_framing_bytes_max + 8 * request->body.size() ||
        (!message->is_done() && bytes.size() - used > limits.chunk_header_bytes_max))
      return fail_with(malformed("its chunks carry more framing than body"));
  }
  return message->is_done() ? ParseStep::done : ParseStep::need_more;
}

ParseStep RequestParser::feed(std::string_view bytes, std::size_t& used) {
  used = 0;
  return state_->header_reported ? state_->feed_body(bytes, used) : state_->feed_header(bytes, used);
}

Status RequestParser::limit_body(std::int64_t bytes) {
  State& s = *state_;
  s.body_bytes_max = bytes;
  if (s.message->is_done()) return {};
  s.message->body_limit(static_cast<std::uint64_t>(bytes));
  if (const auto length = s.message->content_length(); length && *length > static_cast<std::uint64_t>(bytes))
    return fail(ErrorKind::too_large, "the body has " + std::to_string(*length) + " bytes; at most " +
                                          std::to_string(bytes) + " are allowed here");
  return {};
}

const Error& RequestParser::error() const { return state_->error; }
bool RequestParser::started() const { return state_->started; }
bool RequestParser::keep_alive() const { return state_->message->keep_alive(); }
bool RequestParser::expects_continue() const { return state_->message->expects_continue; }
bool RequestParser::has_body() const { return !state_->message->is_done(); }

}  // namespace fused
