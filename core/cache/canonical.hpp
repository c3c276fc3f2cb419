// Parameters of a call in a form that is equal only where the function gets equal values: `n=3` of a URL and `{"n": 3}`
// of a body are one where `n` is an int. Where that cannot be told from the text, the bytes stand for themselves: a
// miss too many, never a wrong hit. tests/contract/parameters_canonical.json holds the cases;
// python/fused/_canonical.py is the same in Python.
//
// A value is a tag and bytes:  i digits | f 8 bytes, big endian IEEE | b 0/1 | s text | n (None) | J tokens of JSON
//                              t text that another reader takes | m several texts of one name
#pragma once
#include <boost/json/object.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.hpp"

namespace fused {

// What an annotation asks for, as far as C++ reads it.
enum class ValueKind { other, integer, real, boolean, text, list, mapping };

struct ParameterKind {
  std::string name;
  ValueKind kind = ValueKind::other;
  bool optional = false;  // `int | None`: "", "null" and "none" may mean None

  bool operator==(const ParameterKind&) const = default;
};

// The parameters of a function, from the worker's description of its text.
struct Signature {
  std::vector<ParameterKind> parameters;
  std::optional<ParameterKind> rest;  // **kwargs
  bool known = false;                 // false: names and kinds are unknown, all values enter as they came

  const ParameterKind* find(std::string_view name) const;
  // {"parameters": [["n", "int"], ["t", "str?"]], "rest": "other" | null}
  static Result<Signature> of_json(const boost::json::object& described);
  boost::json::object json() const;
};

// One value, tagged. Texts of a query and JSON texts are read alike, as Python's readers do.
std::string canonical_text(const ParameterKind& kind, std::string_view text);
std::string canonical_json(const ParameterKind& kind, const boost::json::value& value);

// All that the request gives, by name in the order of the alphabet: `beneath` under `query` under `typed`. Names that
// the function does not have are kept as they came: some stand for others (bbox), and a caller may mean a new answer.
using CanonicalParameters = std::vector<std::pair<std::string, std::string>>;
CanonicalParameters canonical_parameters(const Signature& signature, const boost::json::object& beneath,
                                         const std::vector<std::pair<std::string, std::string>>& query,
                                         const boost::json::object& typed);

}  // namespace fused
