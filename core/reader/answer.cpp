#include "reader/answer.hpp"

#include <arrow/array/builder_binary.h>
#include <arrow/array/builder_primitive.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cmath>
#include <cstring>
#include <set>

#include "base/json_parse.hpp"
#include "reader/frame_of.hpp"
#include "result/mvt.hpp"
#include "result/parquet.hpp"
#include "result/table_text.hpp"
#include "table/parquet_call.hpp"

namespace fused::reader {
namespace {
namespace json = boost::json;

constexpr double kTileMargin = 128.0 / 4096;  // of its width, on each side: the buffer of the tile
// How far a drawn line may stray: a quarter of a pixel where rows are left out too, else a sixteenth (a pixel is 16).
constexpr double kThinTolerance = 4, kTolerance = 1;

Answer reply(json::object header, std::string body = {}) { return {json::serialize(header), std::move(body)}; }

json::array box_json(const Box& box) { return {box.minx, box.miny, box.maxx, box.maxy}; }

Box with_margin(const Box& box) {
  const double x = (box.maxx - box.minx) * kTileMargin, y = (box.maxy - box.miny) * kTileMargin;
  return {box.minx - x, box.miny - y, box.maxx + x, box.maxy + y};
}

// How many rows lie in the box, if they lie evenly in their chunks' boxes.
double rows_about(const Table& table, const std::vector<std::size_t>& chunks, const Box& box) {
  double rows = 0;
  for (const std::size_t at : chunks) {
    const ChunkRow& chunk = table.chunks()[at];
    const auto share = [](double low, double high, double from, double to) {
      return high > low ? (std::min(high, to) - std::max(low, from)) / (high - low) : 1.0;
    };
    rows += static_cast<double>(std::max<std::int64_t>(chunk.num_rows, 1)) *
            share(chunk.box.minx, chunk.box.maxx, box.minx, box.maxx) *
            share(chunk.box.miny, chunk.box.maxy, box.miny, box.maxy);
  }
  return rows;
}

std::int64_t rows_of(const Table& table, const std::vector<std::size_t>& chunks) {
  std::int64_t rows = 0;
  for (const std::size_t at : chunks) rows += std::max<std::int64_t>(table.chunks()[at].num_rows, 1);
  return rows;
}

std::string box_wkb(const Box& box) {
  std::string wkb;
  const auto append = [&wkb](const auto& value) { wkb.append(reinterpret_cast<const char*>(&value), sizeof value); };
  wkb += '\1';
  for (const std::uint32_t number : {3u, 1u, 5u}) append(number);
  const double corners[5][2] = {
      {box.minx, box.miny}, {box.maxx, box.miny}, {box.maxx, box.maxy}, {box.minx, box.maxy}, {box.minx, box.miny}};
  for (const auto& corner : corners)
    for (const double side : corner) append(side);
  return wkb;
}

template <class Builder, class Values>
Result<std::shared_ptr<arrow::Array>> build(const Values& values) {
  Builder builder;
  for (const auto& value : values) FUSED_ARROW_CHECK("overview", builder.Append(value));
  return FUSED_ARROW_TRY("overview", builder.Finish());
}

}  // namespace

struct Answerer::Asked {
  json::object members;
  std::string url;

  std::string text(std::string_view name) const {
    const auto* value = members.if_contains(name);
    return value && value->is_string() ? std::string(value->get_string()) : std::string();
  }
  std::int64_t number(std::string_view name, std::int64_t fallback) const {
    const auto* value = members.if_contains(name);
    return value && value->is_int64() ? value->get_int64() : fallback;
  }
  std::vector<std::string> columns() const {
    std::vector<std::string> names;
    if (const auto* list = members.if_contains("columns"); list && list->is_array())
      for (const auto& name : list->get_array())
        if (name.is_string()) names.emplace_back(name.get_string());
    return names;
  }
  std::optional<Box> bounds() const {
    const auto* list = members.if_contains("bounds");
    if (!list || !list->is_array() || list->get_array().size() != 4) return std::nullopt;
    double side[4];
    for (std::size_t i = 0; i < 4; ++i)
      side[i] = list->get_array()[i].is_number() ? list->get_array()[i].to_number<double>() : std::nan("");
    return Box{side[0], side[1], side[2], side[3]};
  }
};

Answerer::Answerer(std::shared_ptr<result::Geos> geos, std::string mount)
    : reader_({.memory_bytes_max = kMemoryBytesMax}), geos_(std::move(geos)), mount_(std::move(mount)) {}

Answer Answerer::answer(std::string_view request) {
  auto answered = parquet_call("cannot read the table", [&]() -> Result<Answer> {
    const auto parsed = parse_json(request);
    if (!parsed || !parsed->is_object()) return fail(ErrorKind::internal, "not a question");
    Asked asked{.members = parsed->get_object()};
    asked.url = asked.text("url");
    if (asked.url.starts_with("/mount/")) asked.url = mount_ + asked.url.substr(std::strlen("/mount"));
    return dispatch(asked);
  });
  if (answered) return std::move(*answered);
  return reply({{"error",
                 {{"kind", std::string(error_type(answered.error().kind))},
                  {"status", http_status(answered.error().kind)},
                  {"message", answered.error().message}}}});
}

Result<Answer> Answerer::dispatch(const Asked& asked) {
  const std::string op = asked.text("op");
  if (op == "version") return reply({{"version", FUSED_TRY(reader_.open(asked.url))->version()}});
  if (op == "info") return info(asked);
  if (op == "rows") return rows(asked);
  if (op == "tile") return tile(asked);
  return fail(ErrorKind::internal, "not a question: '" + op + "'");
}

Result<Answer> Answerer::info(const Asked& asked) {
  const auto table = FUSED_TRY(reader_.open(asked.url));
  const auto schema = FUSED_TRY(reader_.schema(asked.url));
  std::set<std::string_view> files;
  for (const auto& chunk : table->chunks()) files.insert(chunk.file_id);
  json::array columns;
  for (const auto& field : schema->fields())
    columns.push_back(json::object{{"name", field->name()}, {"type", field->type()->ToString()}});
  const GeoMetadata geo = FUSED_TRY(read_geo_metadata(schema->metadata().get()));
  const auto extent = table->extent();
  return reply({{"version", table->version()},
                {"rows", table->rows() < 0 ? json::value(nullptr) : json::value(table->rows())},
                {"chunks", table->chunks().size()},
                {"files", files.size()},
                {"bounds", extent ? json::value(box_json(*extent)) : json::value(nullptr)},
                {"geometry", geo.primary_column() ? json::value(geo.primary_column()->name) : json::value(nullptr)},
                {"columns", std::move(columns)}});
}

// What is drawn needs its geometry, named or not.
Result<std::vector<std::string>> Answerer::with_geometry(const Asked& asked) {
  auto columns = asked.columns();
  if (columns.empty()) return columns;
  const auto schema = FUSED_TRY(reader_.schema(asked.url));
  const GeoMetadata geo = FUSED_TRY(read_geo_metadata(schema->metadata().get()));
  const std::string name = geo.primary_column() ? geo.primary_column()->name : "geometry";
  if (schema->GetFieldIndex(name) >= 0 && std::ranges::find(columns, name) == columns.end()) columns.push_back(name);
  return columns;
}

Result<Answer> Answerer::rows(const Asked& asked) {
  const auto table = FUSED_TRY(reader_.open(asked.url));
  const std::int64_t limit = asked.number("limit", -1);
  const std::string format = asked.text("format");
  BoxRead read{.bounds = asked.bounds(),
               .columns = format == "geojson" ? FUSED_TRY(with_geometry(asked)) : asked.columns(),
               .where = asked.text("where"),
               .rows_max = limit >= 0 ? -1 : kRowsMax,
               .threads = false,
               .thin = std::nullopt};
  auto found = FUSED_TRY(reader_.read_box(asked.url, read));
  if (limit >= 0 && found->num_rows() > limit) found = found->Slice(0, limit);
  const auto frame = FUSED_TRY(frame_of(*found));
  json::object header{{"version", table->version()}, {"rows", frame.rows}};
  std::string body;
  if (format == "geojson") {
    header["content_type"] = "application/geo+json";
    body = FUSED_TRY(result::encode_geojson(frame, kReplyBytesMax));
  } else if (format == "json") {
    header["content_type"] = "application/json";
    body = FUSED_TRY(result::encode_json(frame, kReplyBytesMax));
  } else {
    const bool arrow = format == "arrow";
    header["content_type"] = arrow ? "application/vnd.apache.arrow.file" : "application/vnd.apache.parquet";
    const auto bytes = FUSED_TRY(arrow ? result::encode_feather(frame, "") : result::encode_parquet(frame, ""));
    if (bytes->size() > kReplyBytesMax)
      return fail(ErrorKind::too_large, "the reply would have " + std::to_string(bytes->size()) + " bytes; up to " +
                                            std::to_string(kReplyBytesMax) + " are sent: ask for a smaller box");
    body = bytes->ToString();
  }
  return reply(std::move(header), std::move(body));
}

Result<Answer> Answerer::tile(const Asked& asked) {
  const TileId tile = FUSED_TRY(check_tile(asked.number("z", -1), asked.number("x", -1), asked.number("y", -1)));
  const auto table = FUSED_TRY(reader_.open(asked.url));
  const Box box = with_margin(tile_bounds(tile));
  const auto chunks = table->find(box);
  json::object header{{"version", table->version()}, {"content_type", "application/vnd.mapbox-vector-tile"}};
  std::string body;
  const char* content = "rows";
  std::int64_t count = 0;
  bool made = chunks.empty();
  const auto attempt = [&](bool thin) -> Status {
    auto encoded = tile_of_rows(asked, tile, thin, &count);
    if (!encoded)
      return encoded.error().kind == ErrorKind::too_large ? Status{} : std::unexpected(std::move(encoded).error());
    if (static_cast<std::int64_t>(encoded->size()) > kTileBytesMax) return {};
    body = std::move(*encoded);
    content = thin ? "thinned" : "rows";
    made = true;
    return {};
  };
  if (!made && rows_about(*table, chunks, box) <= static_cast<double>(kTileRowsMax)) FUSED_CHECK(attempt(false));
  if (!made && rows_of(*table, chunks) <= kThinRowsMax && FUSED_TRY(has_covering(asked))) FUSED_CHECK(attempt(true));
  if (made) {
    header["rows"] = count;
  } else {
    content = "chunks";
    body = FUSED_TRY(overview(*table, tile, box));
  }
  header["content"] = content;
  return reply(std::move(header), std::move(body));
}

// Whether the table's files say each row's box; those of one table are alike.
Result<bool> Answerer::has_covering(const Asked& asked) {
  const auto table = FUSED_TRY(reader_.open(asked.url));
  if (table->chunks().empty()) return false;
  const auto file = FUSED_TRY(reader_.file(table->location(), table->chunks()[0].file_id + ".parquet"));
  return file->covering_field() >= 0;
}

Result<std::string> Answerer::tile_of_rows(const Asked& asked, TileId tile, bool thin, std::int64_t* count) {
  BoxRead read{.bounds = with_margin(tile_bounds(tile)),
               .columns = FUSED_TRY(with_geometry(asked)),
               .where = asked.text("where"),
               .rows_max = thin ? kThinRowsMax : 4 * kTileRowsMax,
               .threads = false,
               .thin = std::nullopt};
  if (thin) read.thin = Thinning{.view = *read.bounds};
  const auto found = FUSED_TRY(reader_.read_box(asked.url, read));
  const auto frame = FUSED_TRY(frame_of(*found));
  *count = frame.rows;
  return result::encode_mvt(frame, tile, geos_.get(),
                            {.layer = asked.text("layer"), .tolerance = thin ? kThinTolerance : kTolerance});
}

// The boxes of the chunks, largest first where there are too many.
Result<std::string> Answerer::overview(const Table& table, TileId tile, const Box& box) {
  auto chunks = table.find(box);
  const auto extent = [&](std::size_t at) {
    const Box& own = table.chunks()[at].box;
    return (own.maxx - own.minx) * (own.maxy - own.miny);
  };
  if (chunks.size() > kOverviewBoxesMax) {
    std::ranges::nth_element(chunks, chunks.begin() + kOverviewBoxesMax, std::greater(), extent);
    chunks.resize(kOverviewBoxesMax);
  }
  std::vector<std::string> boxes, files;
  std::vector<std::int64_t> ids, rows;
  for (const std::size_t at : chunks) {
    const ChunkRow& chunk = table.chunks()[at];
    boxes.push_back(box_wkb(chunk.box));
    files.push_back(chunk.file_id);
    ids.push_back(chunk.chunk_id);
    rows.push_back(chunk.num_rows);
  }
  result::Frame frame{.rows = static_cast<std::int64_t>(chunks.size()), .primary_geometry = 0};
  using result::ColumnKind;
  frame.columns.push_back(
      {"geometry", ColumnKind::geometry, FUSED_TRY(build<arrow::BinaryBuilder>(boxes)), "", "geometry"});
  frame.columns.push_back({"file_id", ColumnKind::plain, FUSED_TRY(build<arrow::StringBuilder>(files)), "", "string"});
  frame.columns.push_back({"chunk_id", ColumnKind::plain, FUSED_TRY(build<arrow::Int64Builder>(ids)), "", "int64"});
  frame.columns.push_back({"num_rows", ColumnKind::plain, FUSED_TRY(build<arrow::Int64Builder>(rows)), "", "int64"});
  return result::encode_mvt(frame, tile, geos_.get(), {.layer = "chunks"});
}

}  // namespace fused::reader
