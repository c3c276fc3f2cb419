#include "cache/canonical.hpp"

#include <algorithm>
#include <boost/json/array.hpp>
#include <cmath>
#include <cstdio>
#include <map>

#include "cache/json_tokens.hpp"

namespace fused {
namespace json = boost::json;
namespace {

constexpr std::pair<std::string_view, ValueKind> kKinds[] = {
    {"other", ValueKind::other}, {"int", ValueKind::integer}, {"float", ValueKind::real},  {"bool", ValueKind::boolean},
    {"str", ValueKind::text},    {"list", ValueKind::list},   {"dict", ValueKind::mapping}};

std::string_view view(const json::string& text) { return {text.data(), text.size()}; }

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return out;
}

bool means_none(std::string_view text) {
  if (text.size() > 4) return false;
  const std::string word = lower(text);
  return word.empty() || word == "null" || word == "none";
}

std::string as_bool(bool value) { return value ? "b1" : "b0"; }

bool is_true(const json::value& value) {
  switch (value.kind()) {
    case json::kind::bool_: return value.get_bool();
    case json::kind::int64: return value.get_int64() != 0;
    case json::kind::uint64: return value.get_uint64() != 0;
    case json::kind::double_: return value.get_double() != 0;
    case json::kind::array: return !value.get_array().empty();
    case json::kind::object: return !value.get_object().empty();
    default: return false;
  }
}

std::optional<std::string> whole_number(const json::value& value) {
  if (value.is_bool()) return value.get_bool() ? "1" : "0";
  if (value.is_int64()) return std::to_string(value.get_int64());
  if (value.is_uint64()) return std::to_string(value.get_uint64());
  if (!value.is_double() || !std::isfinite(value.get_double()) || value.get_double() != std::trunc(value.get_double()))
    return std::nullopt;
  char digits[400];
  std::snprintf(digits, sizeof digits, "%.0f", value.get_double());
  return std::string(digits) == "-0" ? "0" : digits;
}

std::optional<double> number(const json::value& value) {
  if (value.is_bool()) return value.get_bool() ? 1.0 : 0.0;
  if (value.is_int64()) return static_cast<double>(value.get_int64());
  if (value.is_uint64()) return static_cast<double>(value.get_uint64());
  if (value.is_double()) return value.get_double();
  return std::nullopt;
}

Result<ParameterKind> kind_of(std::string_view name, std::string_view word) {
  ParameterKind kind{std::string(name), ValueKind::other, word.ends_with('?')};
  if (kind.optional) word.remove_suffix(1);
  for (const auto& [text, value] : kKinds)
    if (text == word) {
      kind.kind = value;
      return kind;
    }
  return fail(ErrorKind::internal, "a worker named the kind '" + std::string(word.substr(0, 40)) + "'");
}

std::string word_of(const ParameterKind& kind) {
  std::string word;
  for (const auto& [text, value] : kKinds)
    if (value == kind.kind) word = text;
  return kind.optional ? word + '?' : word;
}

std::string several(const std::vector<std::string_view>& texts) {
  std::string out = "m";
  for (const auto text : texts) (out += std::to_string(text.size()) + ':') += text;
  return out;
}

}  // namespace

const ParameterKind* Signature::find(std::string_view name) const {
  for (const auto& parameter : parameters)
    if (parameter.name == name) return &parameter;
  return rest ? &*rest : nullptr;
}

Result<Signature> Signature::of_json(const json::object& described) {
  Signature signature;
  signature.known = true;
  const auto wrong = [] { return fail(ErrorKind::internal, "a worker described a function in a form nobody knows"); };
  const auto* list = described.if_contains("parameters");
  if (!list || !list->is_array()) return wrong();
  for (const auto& item : list->get_array()) {
    if (!item.is_array() || item.get_array().size() != 2 || !item.get_array()[0].is_string() ||
        !item.get_array()[1].is_string())
      return wrong();
    signature.parameters.push_back(
        FUSED_TRY(kind_of(view(item.get_array()[0].get_string()), view(item.get_array()[1].get_string()))));
  }
  if (const auto* rest = described.if_contains("rest"); rest && rest->is_string())
    signature.rest = FUSED_TRY(kind_of("", view(rest->get_string())));
  return signature;
}

json::object Signature::json() const {
  json::array list;
  for (const auto& parameter : parameters) list.push_back(json::array{parameter.name, word_of(parameter)});
  json::object out{{"parameters", std::move(list)}, {"rest", nullptr}};
  if (rest) out["rest"] = word_of(*rest);
  return out;
}

std::string canonical_text(const ParameterKind& kind, std::string_view text) {
  const auto raw = [&] { return 't' + std::string(text); };
  const bool reads_none = kind.optional && kind.kind != ValueKind::text && kind.kind != ValueKind::other;
  if (reads_none && means_none(text)) return "n";
  switch (kind.kind) {
    case ValueKind::integer:
      if (const auto digits = integer_digits(text)) return 'i' + *digits;
      return raw();
    case ValueKind::real:
      if (const auto bits = real_bits(text)) return 'f' + *bits;
      return raw();
    case ValueKind::boolean: return as_bool(!text.empty() && (text.size() != 5 || lower(text) != "false"));
    case ValueKind::text: return 's' + std::string(text);
    case ValueKind::list:
    case ValueKind::mapping:
      if (const auto tokens = json_tokens(text)) return 'J' + *tokens;
      return raw();
    case ValueKind::other: return raw();
  }
  return raw();
}

std::string canonical_json(const ParameterKind& kind, const json::value& value) {
  if (value.is_null()) return "n";
  if (value.is_string()) return canonical_text(kind, view(value.get_string()));
  switch (kind.kind) {
    case ValueKind::integer:
      if (const auto digits = whole_number(value)) return 'i' + *digits;
      break;
    case ValueKind::real:
      if (const auto real = number(value)) return 'f' + real_bits(*real);
      break;
    case ValueKind::boolean: return as_bool(is_true(value));
    case ValueKind::text:
      if (value.is_bool()) return value.get_bool() ? "strue" : "sfalse";
      if (value.is_int64() || value.is_uint64()) return 's' + *whole_number(value);
      break;
    default: break;
  }
  return 'J' + json_tokens(value);
}

CanonicalParameters canonical_parameters(const Signature& signature, const json::object& beneath,
                                         const std::vector<std::pair<std::string, std::string>>& query,
                                         const json::object& typed) {
  static const ParameterKind kUnknown;
  const auto kind_of_name = [&](std::string_view name) {
    const auto* kind = signature.known ? signature.find(name) : nullptr;
    return kind ? kind : &kUnknown;
  };
  std::map<std::string, std::string, std::less<>> given;
  for (const auto& item : beneath)
    given[item.key()] = canonical_json(*kind_of_name({item.key().data(), item.key().size()}), item.value());
  std::map<std::string_view, std::vector<std::string_view>> texts;
  for (const auto& [name, text] : query) texts[name].push_back(text);
  for (const auto& [name, values] : texts) {
    const auto* kind = kind_of_name(name);
    const bool all = values.size() > 1 && (kind->kind == ValueKind::list || kind->kind == ValueKind::other);
    given[std::string(name)] = all ? several(values) : canonical_text(*kind, values.back());
  }
  for (const auto& item : typed)
    given[item.key()] = canonical_json(*kind_of_name({item.key().data(), item.key().size()}), item.value());
  return {given.begin(), given.end()};
}

}  // namespace fused
