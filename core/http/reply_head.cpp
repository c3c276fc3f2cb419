#include "http/reply_head.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>

namespace fused {
namespace {

bool is_token_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

bool is_value_char(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte == '\t' || (byte >= 0x20 && byte != 0x7f);
}

bool is_ours(std::string_view name) {
  constexpr std::array<std::string_view, 11> kOurs{"connection",
                                                   "content-length",
                                                   "transfer-encoding",
                                                   "date",
                                                   "server",
                                                   "keep-alive",
                                                   "upgrade",
                                                   "trailer",
                                                   "x-request-id",
                                                   "te",
                                                   "x-content-type-options"};
  return std::ranges::any_of(kOurs, [name](std::string_view ours) {
    return ours.size() == name.size() &&
           std::ranges::equal(ours, name, [](char a, char b) { return a == (b >= 'A' && b <= 'Z' ? b + 32 : b); });
  });
}

bool fits(std::string_view name, std::string_view value) {
  return !name.empty() && std::ranges::all_of(name, is_token_char) && std::ranges::all_of(value, is_value_char) &&
         !is_ours(name);
}

void append_number(std::string& out, auto number) {
  char digits[24];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, number).ptr);
}

}  // namespace

std::string_view reason_phrase(int status) {
  switch (status) {
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 206: return "Partial Content";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 303: return "See Other";
    case 304: return "Not Modified";
    case 307: return "Temporary Redirect";
    case 308: return "Permanent Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 415: return "Unsupported Media Type";
    case 422: return "Unprocessable Content";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 507: return "Insufficient Storage";
    default: return "";
  }
}

std::string http_date(WallTime time) {
  constexpr std::array<std::string_view, 7> kDays{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr std::array<std::string_view, 12> kMonths{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  const auto two = [](int number) {
    return std::string{static_cast<char>('0' + number / 10), static_cast<char>('0' + number % 10)};
  };
  return std::string(kDays[parts.tm_wday]) + ", " + two(parts.tm_mday) + " " + std::string(kMonths[parts.tm_mon]) +
         " " + std::to_string(parts.tm_year + 1900) + " " + two(parts.tm_hour) + ":" + two(parts.tm_min) + ":" +
         two(parts.tm_sec) + " GMT";
}

void write_reply_head(const Reply& reply, const ReplyFrame& frame, std::string& out) {
  // A function's Response may carry any number; what is no final status of HTTP is our failure to the peer.
  const int status = reply.status >= 200 && reply.status <= 599 ? reply.status : 500;
  out.clear();
  out.append("HTTP/1.1 ");
  append_number(out, status);
  out.append(" ").append(reason_phrase(status)).append("\r\ndate: ").append(frame.date);
  out.append("\r\nserver: ").append(frame.server);
  if (!frame.request_id.empty()) out.append("\r\nx-request-id: ").append(frame.request_id);
  out.append("\r\nx-content-type-options: nosniff\r\n");
  bool has_referrer_policy = false;
  for (const auto& [name, value] : reply.headers) {
    if (!fits(name, value)) continue;
    has_referrer_policy = has_referrer_policy || name == "referrer-policy";
    out.append(name).append(": ").append(value).append("\r\n");
  }
  if (!has_referrer_policy) out.append("referrer-policy: no-referrer\r\n");
  if (!frame.keep_alive)
    out.append("connection: close\r\n");
  else if (frame.say_keep_alive)
    out.append("connection: keep-alive\r\n");
  if (status != 204 && status != 304 && !reply.next_piece) {
    out.append("content-length: ");
    append_number(out, reply.body.view.size());
    out.append("\r\n");
  }
  out.append("\r\n");
}

}  // namespace fused
