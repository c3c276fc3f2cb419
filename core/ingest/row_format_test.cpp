// Rows come back as they were, whatever their types.
#include "ingest/row_format.hpp"

#include <arrow/array.h>
#include <arrow/builder.h>
#include <arrow/compute/api_vector.h>
#include <arrow/json/from_string.h>
#include <gtest/gtest.h>

#include <numeric>

namespace fused::ingest {
namespace {

std::shared_ptr<arrow::RecordBatch> all_types() {
  const auto column = [](const std::shared_ptr<arrow::DataType>& type, const char* json) {
    return arrow::json::ArrayFromJSONString(type, json).ValueOrDie();
  };
  arrow::FieldVector fields;
  arrow::ArrayVector columns;
  const auto add = [&](std::shared_ptr<arrow::Array> values) {
    fields.push_back(arrow::field("c" + std::to_string(fields.size()), values->type()));
    columns.push_back(std::move(values));
  };
  add(column(arrow::int8(), "[1, null, -3, 4]"));
  add(column(arrow::uint16(), "[1, 2, 65535, null]"));
  add(column(arrow::float32(), "[1.5, null, 3, 4]"));
  add(column(arrow::int64(), "[null, null, null, null]"));
  add(column(arrow::boolean(), "[true, false, null, true]"));
  add(column(arrow::utf8(), R"(["a", "", null, "dddd"])"));
  add(column(arrow::large_binary(), R"(["x", null, "", "yy"])"));
  add(column(arrow::fixed_size_binary(3), R"(["abc", null, "def", "ghi"])"));
  add(column(arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"), "[1, 2, null, 4]"));
  add(column(arrow::decimal128(20, 2), R"(["1.25", "-3.00", null, "99999.99"])"));
  add(column(arrow::null(), "[null, null, null, null]"));
  add(column(arrow::list(arrow::int32()), "[[1, 2], [], null, [null, 4]]"));
  add(column(arrow::struct_({arrow::field("a", arrow::utf8()), arrow::field("b", arrow::list(arrow::float64()))}),
             R"([{"a": "q", "b": [1]}, null, {"a": null, "b": null}, {"a": "r", "b": []}])"));
  add(column(arrow::map(arrow::utf8(), arrow::int64()), R"([[["k", 1]], [], null, [["l", null], ["m", 3]]])"));
  add(column(arrow::fixed_size_list(arrow::int16(), 2), "[[1, 2], null, [3, null], [5, 6]]"));
  return arrow::RecordBatch::Make(arrow::schema(fields), 4, columns);
}

std::shared_ptr<arrow::RecordBatch> there_and_back(const arrow::RecordBatch& batch, std::vector<std::int64_t> order) {
  auto format = RowFormat::make(batch.schema());
  EXPECT_TRUE(format.has_value());
  PagedVector<std::uint32_t> offsets;
  EXPECT_TRUE(format->offsets(batch, offsets).has_value());
  std::vector<std::uint8_t> bytes(offsets.back(), 0xAA);
  format->pack(batch, offsets, bytes.data());
  std::vector<const std::uint8_t*> rows;
  for (const std::int64_t row : order) rows.push_back(bytes.data() + offsets[static_cast<std::size_t>(row)]);
  auto back = format->unpack(rows);
  EXPECT_TRUE(back.has_value());
  EXPECT_TRUE((*back)->ValidateFull().ok()) << (*back)->ValidateFull().ToString();
  return *back;
}

TEST(row_format, every_type_comes_back) {
  const auto batch = all_types();
  EXPECT_TRUE(there_and_back(*batch, {0, 1, 2, 3})->Equals(*batch));
}

TEST(row_format, rows_come_in_the_order_asked_for) {
  const auto batch = all_types();
  const std::vector<std::int64_t> order{3, 1, 1, 0};
  const auto back = there_and_back(*batch, order);
  for (std::size_t i = 0; i < order.size(); ++i)
    EXPECT_TRUE(back->Slice(static_cast<std::int64_t>(i), 1)->Equals(*batch->Slice(order[i], 1))) << i;
}

TEST(row_format, slices_are_packed_as_what_they_show) {
  const auto batch = all_types();
  EXPECT_TRUE(there_and_back(*batch->Slice(1, 3), {0, 1, 2})->Equals(*batch->Slice(1, 3)));
}

TEST(row_format, a_type_that_cannot_be_kept_is_named) {
  const auto schema = arrow::schema({arrow::field("u", arrow::dense_union({arrow::field("a", arrow::int8())}))});
  const auto format = RowFormat::make(schema);
  ASSERT_FALSE(format.has_value());
  EXPECT_NE(format.error().message.find("column 'u'"), std::string::npos);
}

}  // namespace
}  // namespace fused::ingest
