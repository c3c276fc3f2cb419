#include "run/cached_run_failure.hpp"

#include <array>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

namespace fused {
namespace json = boost::json;

bool is_failure_of_code(const RunOutcome& outcome) {
  for (const std::string_view kind :
       {"user_error", "invalid_code", "invalid_parameter", "not_serialisable", "no_format", "result_too_large"})
    if (outcome.outcome == kind) return true;
  return false;
}

std::string failure_text(const RunOutcome& outcome) {
  return json::serialize(json::object{{"outcome", outcome.outcome},
                                      {"class", outcome.error_class},
                                      {"message", outcome.error_message},
                                      {"traceback", outcome.traceback},
                                      {"possible_formats", outcome.possible_formats}});
}

bool restore_failure(std::string_view text, RunOutcome& outcome) {
  boost::system::error_code error;
  const json::value value = json::parse({text.data(), text.size()}, error);
  if (error || !value.is_object()) return false;
  const std::array<std::pair<std::string_view, std::string*>, 5> parts{
      {{"outcome", &outcome.outcome},
       {"class", &outcome.error_class},
       {"message", &outcome.error_message},
       {"traceback", &outcome.traceback},
       {"possible_formats", &outcome.possible_formats}}};
  for (const auto& [name, into] : parts) {
    const auto* part = value.get_object().if_contains(name);
    if (!part || !part->is_string()) return false;
    *into = part->get_string();
  }
  return is_failure_of_code(outcome);
}

}  // namespace fused
