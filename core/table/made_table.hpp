// For tests: a small table of points on a grid, written by Arrow with page index and covering.
#pragma once
#include <arrow/builder.h>
#include <arrow/io/file.h>
#include <arrow/table.h>
#include <gtest/gtest.h>
#include <parquet/arrow/writer.h>

#include <cstring>
#include <fstream>
#include <string>

#include "storage/test_folder.hpp"
#include "table/sample.hpp"

namespace fused {

inline std::string point_wkb(double x, double y) {
  std::string wkb("\1\1\0\0\0", 5);
  const double xy[] = {x, y};
  return wkb.append(reinterpret_cast<const char*>(xy), sizeof xy);
}

struct MadeTable {
  int side = 40;       // side × side points, a degree … apart
  double step = 0.01;  // degrees
  int page_rows = 50;
  int row_groups = 4;
  bool covering = true;
};

// Row i lies at (step · (i mod side), step · (i div side)); columns id, name ("even" or null), geometry, bbox.
inline std::shared_ptr<arrow::Table> rows_of(const MadeTable& made, int from, int to) {
  arrow::Int64Builder id;
  arrow::StringBuilder name;
  arrow::BinaryBuilder geometry;
  arrow::DoubleBuilder sides[4];
  for (int i = from; i < to; ++i) {
    const double x = made.step * (i % made.side), y = made.step * (i / made.side);
    EXPECT_TRUE(id.Append(i).ok());
    EXPECT_TRUE((i % 2 == 0 ? name.Append("even") : name.AppendNull()).ok());
    EXPECT_TRUE(geometry.Append(point_wkb(x, y)).ok());
    for (int k = 0; k < 4; ++k) EXPECT_TRUE(sides[k].Append(k % 2 == 0 ? x : y).ok());
  }
  arrow::FieldVector fields{arrow::field("id", arrow::int64()), arrow::field("name", arrow::utf8()),
                            arrow::field("geometry", arrow::binary())};
  arrow::ArrayVector columns{*id.Finish(), *name.Finish(), *geometry.Finish()};
  if (made.covering) {
    arrow::ArrayVector parts;
    for (auto& each : sides) parts.push_back(*each.Finish());
    const std::vector<std::string> names{"xmin", "ymin", "xmax", "ymax"};
    columns.push_back(*arrow::StructArray::Make(parts, names));
    fields.push_back(arrow::field("bbox", columns.back()->type()));
  }
  const std::string covering =
      R"(,"covering":{"bbox":{"xmin":["bbox","xmin"],"ymin":["bbox","ymin"],"xmax":["bbox","xmax"],"ymax":["bbox","ymax"]}})";
  const std::string geo =
      R"({"version":"1.1.0","primary_column":"geometry","columns":{"geometry":{"encoding":"WKB","geometry_types":["Point"])" +
      (made.covering ? covering : std::string()) + "}}}";
  return arrow::Table::Make(arrow::schema(fields, arrow::key_value_metadata({{"geo", geo}})), columns);
}

inline void write_table(const MadeTable& made, const std::string& folder) {
  const int rows = made.side * made.side;
  const auto properties = parquet::WriterProperties::Builder()
                              .enable_write_page_index()
                              ->max_rows_per_page(made.page_rows)
                              ->write_batch_size(made.page_rows)
                              ->compression(arrow::Compression::ZSTD)
                              ->build();
  const auto arrow_properties = parquet::ArrowWriterProperties::Builder().store_schema()->build();
  auto file = *arrow::io::FileOutputStream::Open(folder + "/0.parquet");
  auto writer = *parquet::arrow::FileWriter::Open(*rows_of(made, 0, 0)->schema(), arrow::default_memory_pool(), file,
                                                  properties, arrow_properties);
  std::vector<ChunkRow> chunks;
  for (int group = 0; group < made.row_groups; ++group) {
    const int from = rows * group / made.row_groups, to = rows * (group + 1) / made.row_groups;
    ASSERT_TRUE(writer->WriteTable(*rows_of(made, from, to), to - from).ok());
    chunks.push_back(
        {"0",
         group,
         {0, made.step * (from / made.side), made.step * (made.side - 1), made.step * ((to - 1) / made.side)},
         0,
         0,
         to - from,
         to - from});
  }
  ASSERT_TRUE(writer->Close().ok());
  ASSERT_TRUE(file->Close().ok());
  std::ofstream(folder + "/_sample", std::ios::binary) << *sample_bytes(chunks);
}

}  // namespace fused
