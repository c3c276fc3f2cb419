// Parquet's C++ interface throws; here that becomes an Error.
#pragma once
#include <exception>
#include <new>
#include <string>
#include <string_view>

#include "base/result.hpp"

namespace fused {

// `call` answers a Result; whatever Parquet or Arrow throw in it is `unprocessable` (too_large when memory ran out).
template <class Call>
auto parquet_call(std::string_view doing, Call&& call) -> decltype(call()) {
  try {
    return call();
  } catch (const std::bad_alloc&) {
    return fail(ErrorKind::too_large, std::string(doing) + ": needs more memory than there is");
  } catch (const std::exception& error) {
    const std::string_view what = error.what();
    const bool memory = what.find("Out of memory") != what.npos || what.find("out of memory") != what.npos ||
                        what.find("MemoryPool") != what.npos;
    return fail(memory ? ErrorKind::too_large : ErrorKind::unprocessable,
                std::string(doing) + ": " + std::string(what.substr(0, 400)));
  }
}

}  // namespace fused
