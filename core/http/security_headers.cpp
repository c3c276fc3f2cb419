#include "http/security_headers.hpp"

#include <algorithm>

namespace fused {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return out;
}

bool is_executed(std::string_view content_type) {
  auto type = lower(content_type.substr(0, content_type.find_first_of("; \t")));
  return type == "text/html" || type == "application/pdf" || type.ends_with("javascript") ||
         type.ends_with("ecmascript") || type.ends_with("xml") || type == "multipart/x-mixed-replace" ||
         type == "multipart/related" || type == "text/xsl";
}

}  // namespace

void add_sandbox(Reply& reply) {
  const bool executed = std::ranges::any_of(reply.headers, [](const auto& header) {
    return lower(header.first) == "content-type" && is_executed(header.second);
  });
  if (!executed) return;
  // A policy of the function's own could only be a weaker one beside ours, but two are harder to reason about than one.
  std::erase_if(reply.headers, [](const auto& header) { return lower(header.first) == "content-security-policy"; });
  reply.with("content-security-policy", "sandbox allow-scripts allow-forms allow-popups allow-downloads");
}

void add_page_policy(Reply& reply) {
  reply.with("content-security-policy",
             "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; form-action 'self'; "
             "base-uri 'none'; frame-ancestors 'none'");
  reply.with("x-frame-options", "DENY");
}

}  // namespace fused
