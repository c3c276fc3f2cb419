// One line a request, without tokens: a share token in the path and `fused_session_token` in the query are cut.
#pragma once
#include <string>

#include "http/message.hpp"

namespace fused {

void log_access(const Request& request, int status, std::size_t bytes_sent, double seconds);
// Path and query as they may be logged: at most 512 bytes.
std::string loggable_target(std::string_view target);

}  // namespace fused
