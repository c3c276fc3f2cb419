// A table of any WKB, text and numbers as Parquet and Feather: an error, or a file that Arrow reads back with its rows.
#include <arrow/array/builder_binary.h>
#include <arrow/array/builder_primitive.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/reader.h>
#include <parquet/arrow/reader.h>

#include <cstdlib>

#include "fuzz_bytes.hpp"
#include "result/parquet.hpp"

namespace {

using fused::result::Column;
using fused::result::ColumnKind;
using fused::result::Frame;

void must(bool fact) {
  if (!fact) std::abort();
}

Frame frame_of(Fuzzed& from) {
  arrow::BinaryBuilder geometry;
  arrow::DoubleBuilder number;
  arrow::StringBuilder json;
  const int rows = from.small_number(8) - 1;
  for (int row = 0; row < rows; ++row) {
    const auto wkb = from.bytes(from.small_number(200) - 1);
    must((wkb.empty() ? geometry.AppendNull()
                      : geometry.Append(reinterpret_cast<const std::uint8_t*>(wkb.data()), int(wkb.size())))
             .ok());
    must(number.Append(from.number()).ok() && json.Append("{\"n\":1}").ok());
  }
  Frame frame;
  frame.rows = rows;
  frame.primary_geometry = 0;
  const auto name = from.bytes(from.small_number(12) - 1);
  for (const auto byte : name)
    if (byte >= std::byte{128}) return Frame{};  // names are UTF-8 before they come here
  frame.columns = {Column{"geometry", ColumnKind::geometry, geometry.Finish().ValueOrDie(), "", "geometry"},
                   Column{std::string(reinterpret_cast<const char*>(name.data()), name.size()), ColumnKind::plain,
                          number.Finish().ValueOrDie(), "", "float64"},
                   Column{"tags", ColumnKind::json, json.Finish().ValueOrDie(), "", "object"}};
  return frame;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Fuzzed from(data, size);
  const Frame frame = frame_of(from);
  if (frame.columns.empty()) return 0;
  if (const auto file = fused::result::encode_parquet(frame, "")) {
    auto reader =
        parquet::arrow::OpenFile(std::make_shared<arrow::io::BufferReader>(*file), arrow::default_memory_pool());
    must(reader.ok());
    const auto table = (*reader)->ReadTable();
    must(table.ok() && (*table)->num_rows() == frame.rows && (*table)->ValidateFull().ok());
  }
  if (const auto file = fused::result::encode_feather(frame, "")) {
    auto reader = arrow::ipc::RecordBatchFileReader::Open(std::make_shared<arrow::io::BufferReader>(*file));
    must(reader.ok());
    const auto table = (*reader)->ToTable();
    must(table.ok() && (*table)->num_rows() == frame.rows && (*table)->ValidateFull().ok());
  }
  return 0;
}
