// Nested values (lists, structs, maps) to and from bytes, one value at a time.
#pragma once
#include <arrow/array.h>
#include <arrow/builder.h>

#include <memory>
#include <string>

#include "base/result.hpp"

namespace fused::ingest {

// The type of the same memory layout whose leaves are unsigned integers, booleans, binaries and fixed-size binaries,
// and whose maps are lists of structs; null for what has no such layout.
std::shared_ptr<arrow::DataType> plain_type(const arrow::DataType& type);
// The same values called by another type of the same layout.
std::shared_ptr<arrow::ArrayData> retyped(const std::shared_ptr<arrow::ArrayData>& data,
                                          const std::shared_ptr<arrow::DataType>& type);

// `values` is of a plain type.
void append_value(const arrow::Array& values, std::int64_t row, std::string& out);
// Reads what append_value wrote; gives the byte behind it.
arrow::Result<const std::uint8_t*> read_value(const std::uint8_t* at, arrow::ArrayBuilder& builder);

}  // namespace fused::ingest
