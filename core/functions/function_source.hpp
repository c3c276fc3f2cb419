// The code of one function as it travels and is run: client-protocol.md §3.
#pragma once
#include <boost/json/object.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace fused {

struct HeaderModule {
  std::string module_name;
  std::string source_code;
};

struct FunctionSource {
  std::string name;
  std::string code;        // with decorators
  std::string code_hash;   // SHA-256 of code, entrypoint and headers: the key of a worker's compiled functions
  std::string entrypoint;  // "" when the record names none
  std::vector<HeaderModule> headers;
  boost::json::object parameters;  // default_parameters and those set on the object
  std::optional<std::int64_t> cache_max_age_seconds;
  std::string id;        // of the saved function, else ""
  std::string revision;  // of the saved function, else ""
  std::string collection_name = "default";
  std::string owner_id;  // whose code it is: chooses the worker
  std::string owner_email;
  std::string owner_username;
  std::string organisation;
};
using SharedFunction = std::shared_ptr<const FunctionSource>;

}  // namespace fused
