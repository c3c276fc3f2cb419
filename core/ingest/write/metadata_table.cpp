#include "ingest/write/metadata_table.hpp"

#include <arrow/builder.h>
#include <arrow/io/memory.h>
#include <arrow/table.h>

#include <cmath>
#include <cstring>

#include "ingest/write/file_writer.hpp"
#include "result/frame.hpp"

namespace fused::ingest {
namespace {

// A closed ring, as shapely.box makes it.
std::string box_wkb(const Box& box) {
  std::string wkb("\1\3\0\0\0\1\0\0\0\5\0\0\0", 13);
  const double ring[] = {box.maxx, box.miny, box.maxx, box.maxy, box.minx,
                         box.maxy, box.minx, box.miny, box.maxx, box.miny};
  wkb.append(reinterpret_cast<const char*>(ring), sizeof ring);
  return wkb;
}

template <class Builder, class Value>
Result<std::shared_ptr<arrow::Array>> built(std::span<const ChunkRow> chunks, const Value& value) {
  Builder builder;
  for (const ChunkRow& chunk : chunks) FUSED_ARROW_CHECK("chunk list", builder.Append(value(chunk)));
  return FUSED_ARROW_TRY("chunk list", builder.Finish());
}

}  // namespace

Result<std::string> metadata_table(std::span<const ChunkRow> chunks) {
  arrow::FieldVector fields;
  arrow::ArrayVector columns;
  const auto add = [&](const char* name, std::shared_ptr<arrow::Array> values) {
    fields.push_back(arrow::field(name, values->type()));
    columns.push_back(std::move(values));
  };
  const auto number = [&](const char* name, const auto& value) -> Status {
    add(name, FUSED_TRY(built<arrow::DoubleBuilder>(chunks, value)));
    return {};
  };
  const auto count = [&](const char* name, const auto& value) -> Status {
    add(name, FUSED_TRY(built<arrow::Int64Builder>(chunks, value)));
    return {};
  };
  add("file_id", FUSED_TRY(built<arrow::StringBuilder>(chunks, [](const ChunkRow& c) { return c.file_id; })));
  FUSED_CHECK(count("chunk_id", [](const ChunkRow& c) { return c.chunk_id; }));
  FUSED_CHECK(number("bbox_minx", [](const ChunkRow& c) { return c.box.minx; }));
  FUSED_CHECK(number("bbox_miny", [](const ChunkRow& c) { return c.box.miny; }));
  FUSED_CHECK(number("bbox_maxx", [](const ChunkRow& c) { return c.box.maxx; }));
  FUSED_CHECK(number("bbox_maxy", [](const ChunkRow& c) { return c.box.maxy; }));
  FUSED_CHECK(number("sum_area", [](const ChunkRow& c) { return c.sum_area; }));
  FUSED_CHECK(number("sum_length", [](const ChunkRow& c) { return c.sum_length; }));
  FUSED_CHECK(count("num_coords", [](const ChunkRow& c) { return c.num_coords; }));
  FUSED_CHECK(count("num_rows", [](const ChunkRow& c) { return c.num_rows; }));
  TableColumns table;
  table.geometry = static_cast<int>(fields.size());
  arrow::BinaryBuilder boxes;
  MadeChunk all;
  all.types = {"Polygon"};
  for (const ChunkRow& chunk : chunks) {
    const bool there = !std::isnan(chunk.box.minx);
    FUSED_ARROW_CHECK("chunk list", there ? boxes.Append(box_wkb(chunk.box)) : boxes.AppendNull());
    if (!there) continue;
    Box& box = all.summary.box;
    if (all.summary.num_rows++ == 0) box = chunk.box;
    box = {std::min(box.minx, chunk.box.minx), std::min(box.miny, chunk.box.miny), std::max(box.maxx, chunk.box.maxx),
           std::max(box.maxy, chunk.box.maxy)};
  }
  add("geometry", FUSED_ARROW_TRY("chunk list", boxes.Finish()));
  if (all.summary.num_rows == 0) all.summary.box.minx = NAN;
  table.schema = arrow::schema(fields);
  all.table = arrow::Table::Make(table.schema, columns, static_cast<std::int64_t>(chunks.size()));
  auto sink = FUSED_ARROW_TRY("chunk list", arrow::io::BufferOutputStream::Create());
  const FileShape shape{table.schema, ""};
  auto writer = FUSED_TRY(FileWriter::open(sink, table, shape, Options{}, *all.table));
  FUSED_CHECK(writer.write(all));
  FUSED_CHECK(writer.close());
  return FUSED_ARROW_TRY("chunk list", sink->Finish())->ToString();
}

}  // namespace fused::ingest
