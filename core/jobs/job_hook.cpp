#include "jobs/job_hook.hpp"

#include <algorithm>
#include <boost/json/object.hpp>

#include "base/text.hpp"

namespace fused {
namespace json = boost::json;
namespace {

constexpr std::size_t kTargetBytesMax = 2'000;

Result<JobHook> read_hook(std::string_view text) {
  const auto wrong = [&](std::string_view why) {
    return fail(ErrorKind::invalid_argument,
                "'on_finish' holds '" + printable(text.substr(0, 80)) + "', " + std::string(why) +
                    "; it is an address (https://…), mailto:NAME@HOST, or a saved function's id or name");
  };
  if (text.empty() || text.size() > kTargetBytesMax || !is_utf8(text)) return wrong("which is empty or too long");
  if (std::ranges::any_of(text, [](unsigned char c) { return c < 0x20 || c == 0x7f; }))
    return wrong("which has control characters");
  if (text.starts_with("https://") || text.starts_with("http://")) return JobHook{"url", std::string(text)};
  if (text.starts_with("mailto:")) {
    const std::string_view box = text.substr(7);
    const auto at = box.find('@');
    if (at == 0 || at == std::string_view::npos || at + 1 == box.size() || box.find_first_of(" ,;?<>") != box.npos)
      return wrong("which is no mailbox");
    return JobHook{"email", std::string(box)};
  }
  if (text.find("://") != std::string_view::npos) return wrong("whose scheme is not http or https");
  return JobHook{"function", std::string(text)};
}

}  // namespace

Result<std::vector<JobHook>> read_hooks(const json::value& on_finish) {
  std::vector<JobHook> hooks;
  const auto* list = on_finish.if_array();
  if (on_finish.is_string()) {
    const auto& text = on_finish.get_string();
    hooks.push_back(FUSED_TRY(read_hook({text.data(), text.size()})));
  } else if (list != nullptr && list->size() <= kJobHooksMax) {
    for (const json::value& item : *list) {
      if (!item.is_string()) return fail(ErrorKind::invalid_argument, "'on_finish' holds something that is no text");
      hooks.push_back(FUSED_TRY(read_hook({item.get_string().data(), item.get_string().size()})));
    }
  } else {
    return fail(ErrorKind::invalid_argument,
                "'on_finish' must be a text or a list of up to " + std::to_string(kJobHooksMax) + " texts");
  }
  return hooks;
}

json::array hooks_json(const std::vector<JobHook>& hooks) {
  json::array array;
  for (const JobHook& hook : hooks) array.push_back(json::object{{"kind", hook.kind}, {"target", hook.target}});
  return array;
}

std::vector<JobHook> hooks_of_json(const json::value* hooks) {
  std::vector<JobHook> found;
  if (hooks == nullptr || !hooks->is_array()) return found;
  for (const json::value& item : hooks->get_array()) {
    const auto* object = item.if_object();
    const auto* kind = object == nullptr ? nullptr : object->if_contains("kind");
    const auto* target = object == nullptr ? nullptr : object->if_contains("target");
    if (kind != nullptr && target != nullptr && kind->is_string() && target->is_string())
      found.push_back({std::string(kind->get_string()), std::string(target->get_string())});
  }
  return found;
}

}  // namespace fused
