#include "ingest/read/columns.hpp"

#include <arrow/array.h>
#include <arrow/array/concatenate.h>
#include <arrow/compute/cast.h>

#include <algorithm>
#include <set>

#include "ingest/read/geometry.hpp"
#include "result/frame.hpp"

namespace fused::ingest {
namespace {

std::string names_of(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "'" : ", '") + name + "'";
  return text;
}

// Without what Parquet cannot keep or rows cannot be packed of: dictionaries, views, run ends.
std::shared_ptr<arrow::DataType> simple_type(const std::shared_ptr<arrow::DataType>& type) {
  switch (type->id()) {
    case arrow::Type::DICTIONARY: return simple_type(static_cast<const arrow::DictionaryType&>(*type).value_type());
    case arrow::Type::RUN_END_ENCODED:
      return simple_type(static_cast<const arrow::RunEndEncodedType&>(*type).value_type());
    case arrow::Type::STRING_VIEW: return arrow::utf8();
    case arrow::Type::BINARY_VIEW: return arrow::binary();
    default: return type;
  }
}

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::ranges::find(names, name) != names.end();
}

Status check_geometry(const Source& source) {
  if (source.encoding != Encoding::none) return {};
  if (source.choices.empty())
    return fail(ErrorKind::unprocessable,
                source.name +
                    ": no geometry column; name two columns of coordinates with lonlat_cols, or for CSV the "
                    "open options X_POSSIBLE_NAMES and Y_POSSIBLE_NAMES in gdal_config");
  return fail(ErrorKind::unprocessable, source.name + ": " + std::to_string(source.choices.size()) +
                                            " columns could be the geometry (" + names_of(source.choices) +
                                            "), and none is said to be the primary one; leave the others out with "
                                            "remove_cols");
}

// A source whose choices remove_cols or load_columns have narrowed to one.
void choose_geometry(Source& source, const Options& options) {
  if (source.encoding != Encoding::none) return;
  std::erase_if(source.choices, [&](const std::string& name) {
    return contains(options.remove_columns, name) || (options.load_columns && !contains(*options.load_columns, name));
  });
  if (source.choices.size() != 1) return;
  source.geometry = source.choices[0];
  source.encoding = Encoding::wkb;
}

// The type that holds the values of both exactly; null where there is none.
std::shared_ptr<arrow::DataType> common_type(const std::shared_ptr<arrow::DataType>& a,
                                             const std::shared_ptr<arrow::DataType>& b) {
  if (a->Equals(b) || b->id() == arrow::Type::NA) return a;
  if (a->id() == arrow::Type::NA) return b;
  const auto kind = [](const arrow::DataType& type) {
    if (arrow::is_signed_integer(type.id())) return 1;
    if (arrow::is_unsigned_integer(type.id())) return 2;
    if (type.id() == arrow::Type::FLOAT || type.id() == arrow::Type::DOUBLE) return 3;
    if (type.id() == arrow::Type::STRING || type.id() == arrow::Type::LARGE_STRING) return 4;
    return 0;
  };
  if (kind(*a) == 0 || kind(*a) != kind(*b)) return nullptr;
  if (kind(*a) == 4) return arrow::large_utf8();
  return a->bit_width() > b->bit_width() ? a : b;
}

class Union {
 public:
  Union(const Options& options, const std::shared_ptr<arrow::Schema>& wanted) : options_(options), wanted_(wanted) {}

  Status add(const Source& source) {
    for (const auto& field : source.schema->fields()) {
      const std::string& name = field->name();
      seen_.insert(name);
      if (name == source.geometry && source.encoding != Encoding::lonlat) continue;
      if (contains(source.hidden, name) || contains(options_.remove_columns, name)) continue;
      if (options_.load_columns && !contains(*options_.load_columns, name)) continue;
      FUSED_CHECK(add_field(*field, source));
    }
    return {};
  }
  Status check_names() const {
    const auto known = [&](const char* option, const std::vector<std::string>& names) -> Status {
      for (const std::string& name : names)
        if (!seen_.contains(name))
          return fail(ErrorKind::invalid_argument, std::string(option) + " names '" + name + "'; the input has " +
                                                       names_of(std::vector<std::string>(seen_.begin(), seen_.end())));
      return {};
    };
    if (options_.load_columns) FUSED_CHECK(known("load_columns", *options_.load_columns));
    FUSED_CHECK(known("remove_cols", options_.remove_columns));
    if (!wanted_) return {};
    std::vector<std::string> names = wanted_->field_names();
    return known("schema", names);
  }
  arrow::FieldVector take() { return std::move(fields_); }

 private:
  Status add_field(const arrow::Field& field, const Source& source) {
    auto type = simple_type(field.type());
    if (wanted_)
      if (const auto asked = wanted_->GetFieldByName(field.name())) type = asked->type();
    for (std::size_t i = 0; i < fields_.size(); ++i) {
      if (fields_[i]->name() != field.name()) continue;
      if (const auto both = common_type(fields_[i]->type(), type)) {
        fields_[i] = fields_[i]->WithType(both);
        return {};
      }
      return fail(ErrorKind::unprocessable, "column '" + field.name() + "' is " + fields_[i]->type()->ToString() +
                                                " in " + from_[i] + " and " + type->ToString() + " in " + source.name +
                                                "; give it one type with schema, or leave it out");
    }
    fields_.push_back(arrow::field(field.name(), type));
    from_.push_back(source.name);
    return {};
  }

  const Options& options_;
  const std::shared_ptr<arrow::Schema>& wanted_;
  arrow::FieldVector fields_;
  std::vector<std::string> from_;
  std::set<std::string> seen_;
};

// The first row whose value cannot be cast, by halving.
std::int64_t bad_row(const std::shared_ptr<arrow::Array>& values, const std::shared_ptr<arrow::DataType>& type) {
  std::int64_t from = 0, count = values->length();
  while (count > 1) {
    const std::int64_t half = count / 2;
    if (!arrow::compute::Cast(*values->Slice(from, half), type).ok()) {
      count = half;
    } else {
      from += half;
      count -= half;
    }
  }
  return from;
}

Result<std::shared_ptr<arrow::Array>> converted(const std::shared_ptr<arrow::Array>& values, const arrow::Field& field,
                                                const Source& source, std::int64_t first_row) {
  if (values->type()->Equals(field.type())) return values;
  auto cast = arrow::compute::Cast(*values, field.type());
  if (cast.ok()) return *cast;
  const std::int64_t row = bad_row(values, field.type());
  return fail(ErrorKind::unprocessable, source.name + ": column '" + field.name() + "', row " +
                                            std::to_string(first_row + row) + ": " + values->type()->ToString() +
                                            " cannot become " + field.type()->ToString() + ": " +
                                            cast.status().message().substr(0, 200));
}

}  // namespace

Result<TableColumns> table_columns(std::vector<Source>& sources, const Options& options,
                                   const std::shared_ptr<arrow::Schema>& wanted) {
  TableColumns table;
  Union all(options, wanted);
  std::string geometry;
  for (Source& source : sources) {
    choose_geometry(source, options);
    FUSED_CHECK(check_geometry(source));
    if (geometry.empty()) geometry = source.geometry;
    if (source.encoding == Encoding::wkb || source.encoding == Encoding::geoarrow)
      if (contains(options.remove_columns, source.geometry))
        return fail(ErrorKind::invalid_argument, "remove_cols names '" + source.geometry + "', the geometry");
    FUSED_CHECK(all.add(source));
    for (const auto& [name, described] : source.other_geometries) table.other_geometries[name] = described;
  }
  FUSED_CHECK(all.check_names());
  arrow::FieldVector fields = all.take();
  const auto has = [&](const std::string& name) {
    return std::ranges::any_of(fields, [&](const auto& field) { return field->name() == name; });
  };
  if (options.subdivide_start) {
    if (has(kOriginalRow))
      return fail(ErrorKind::unprocessable, std::string("subdividing adds the column '") + kOriginalRow +
                                                "', which the input has already; leave it out with remove_cols");
    table.original_row = static_cast<int>(fields.size());
    fields.push_back(arrow::field(kOriginalRow, arrow::int64()));
  }
  if (geometry.empty() || geometry == "wkb_geometry") geometry = "geometry";
  while (has(geometry)) geometry += "_";
  table.geometry = static_cast<int>(fields.size());
  fields.push_back(arrow::field(geometry, arrow::binary()));
  table.schema = arrow::schema(fields);
  return table;
}

std::vector<std::string> needed_columns(const Source& source, const TableColumns& table) {
  std::vector<std::string> names;
  for (const auto& field : source.schema->fields()) {
    const std::string& name = field->name();
    const bool geometry = source.encoding == Encoding::lonlat ? name == source.longitude || name == source.latitude
                                                              : name == source.geometry;
    const bool column = table.schema->GetFieldIndex(name) >= 0 && !contains(source.hidden, name);
    if (geometry || column) names.push_back(name);
  }
  return names;
}

Result<std::shared_ptr<arrow::RecordBatch>> to_table(const arrow::RecordBatch& batch, const Source& source,
                                                     const TableColumns& table, std::int64_t first_row) {
  arrow::ArrayVector columns;
  for (int i = 0; i < table.schema->num_fields(); ++i) {
    const auto& field = *table.schema->field(i);
    if (i == table.geometry) {
      columns.push_back(FUSED_TRY(wkb_column(batch, source, first_row)));
      continue;
    }
    const bool is_geometry = field.name() == source.geometry && source.encoding != Encoding::lonlat;
    const auto values = is_geometry ? nullptr : batch.GetColumnByName(field.name());
    columns.push_back(values && i != table.original_row
                          ? FUSED_TRY(converted(values, field, source, first_row))
                          : FUSED_ARROW_TRY("column", arrow::MakeArrayOfNull(field.type(), batch.num_rows())));
  }
  return arrow::RecordBatch::Make(table.schema, batch.num_rows(), std::move(columns));
}

}  // namespace fused::ingest
