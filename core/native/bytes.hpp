// Result bytes that live in C++ memory, shown to Python through the buffer protocol without a copy.
#pragma once
#include <arrow/buffer.h>
#include <nanobind/nanobind.h>

#include <memory>
#include <string>

#include "base/result.hpp"

namespace fused::native {

void bind_bytes(nanobind::module_& module);

// `bytes` where a copy is cheaper than a view, else a read-only memoryview.
nanobind::object to_python(std::string&& text);
nanobind::object to_python(std::shared_ptr<arrow::Buffer> buffer);

// EncodeError(kind, message): kind is the ErrorKind's name ("too_large", "not_acceptable", …).
[[noreturn]] void throw_error(const Error& error);

template <class T>
T value_or_throw(Result<T>&& result) {
  if (!result) throw_error(result.error());
  return std::move(result).value();
}

}  // namespace fused::native
