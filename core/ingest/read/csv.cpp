#include "ingest/read/csv.hpp"

#include <arrow/buffer.h>
#include <arrow/csv/api.h>
#include <arrow/io/memory.h>
#include <arrow/table.h>

#include <algorithm>
#include <cstring>

#include "ingest/read/batches.hpp"
#include "ingest/read/files.hpp"
#include "result/frame.hpp"

namespace fused::ingest {
namespace {

constexpr std::int64_t kPieceBytes = 4 << 20;
constexpr std::int64_t kLineBytesMax = 1 << 20;
constexpr std::int64_t kSampleBytes = 128 << 10;
constexpr int kSamples = 8;

arrow::csv::ParseOptions parse_options(const Source& source, bool quotes) {
  auto options = arrow::csv::ParseOptions::Defaults();
  options.delimiter = source.delimiter;
  options.quoting = quotes;
  options.newlines_in_values = quotes;
  return options;
}

Result<std::shared_ptr<arrow::Table>> parse(const std::shared_ptr<arrow::Buffer>& text, const Source& source,
                                            std::vector<std::string> names, bool quotes,
                                            const arrow::csv::ConvertOptions& convert) {
  auto read = arrow::csv::ReadOptions::Defaults();
  read.use_threads = false;
  read.column_names = std::move(names);
  auto reader =
      FUSED_ARROW_TRY(source.name, arrow::csv::TableReader::Make(arrow::io::default_io_context(),
                                                                 std::make_shared<arrow::io::BufferReader>(text), read,
                                                                 parse_options(source, quotes), convert));
  return FUSED_ARROW_TRY(source.name, reader->Read());
}

// The narrowest type for both.
std::shared_ptr<arrow::DataType> wider(const std::shared_ptr<arrow::DataType>& a,
                                       const std::shared_ptr<arrow::DataType>& b) {
  if (a->Equals(b) || b->id() == arrow::Type::NA) return a;
  if (a->id() == arrow::Type::NA) return b;
  const auto number = [](const arrow::DataType& type) {
    return type.id() == arrow::Type::INT64 || type.id() == arrow::Type::DOUBLE;
  };
  return number(*a) && number(*b) ? arrow::float64() : arrow::utf8();
}

// Bytes from `from` to the end of a line, beginning behind the end of one (or at `start`).
Result<std::shared_ptr<arrow::Buffer>> lines(arrow::io::RandomAccessFile& file, const Source& source,
                                             std::int64_t start, std::int64_t from, std::int64_t to) {
  const std::int64_t before = from > start ? 1 : 0;  // the byte in front tells whether a line begins here
  auto text = FUSED_ARROW_TRY(source.name, file.ReadAt(from - before, to - from + before + kLineBytesMax));
  const auto all = static_cast<std::string_view>(*text);
  std::size_t begin = 0;
  if (before != 0) {
    begin = all.find('\n');
    if (begin == all.npos || static_cast<std::int64_t>(begin) >= to - from + before)
      return arrow::Buffer::FromString("");  // inside of one line; whoever has its beginning has it
    ++begin;
  }
  std::size_t end = all.size();
  const auto wanted = static_cast<std::size_t>(to - from + before);
  if (all.size() >= wanted) {
    end = all.find('\n', wanted - 1);
    if (end == all.npos) {
      end = all.size();
      if (static_cast<std::int64_t>(all.size()) == to - from + before + kLineBytesMax)
        return fail(ErrorKind::too_large, source.name + ": a line near byte " + std::to_string(to) +
                                              " is longer than " + std::to_string(kLineBytesMax) + " bytes");
    } else {
      ++end;
    }
  }
  return arrow::SliceBuffer(text, static_cast<std::int64_t>(begin), static_cast<std::int64_t>(end - begin));
}

Result<bool> has_quotes(arrow::io::RandomAccessFile& file, const Source& source, std::int64_t size) {
  for (std::int64_t at = 0; at < size; at += kPieceBytes) {
    const auto text = FUSED_ARROW_TRY(source.name, file.ReadAt(at, kPieceBytes));
    if (memchr(text->data(), '"', static_cast<std::size_t>(text->size())) != nullptr) return true;
  }
  return false;
}

}  // namespace

Status describe_csv(Source& source) {
  const auto file = FUSED_TRY(open_file(source.path));
  const std::int64_t size = FUSED_ARROW_TRY("size", file->GetSize());
  if (size == 0) return fail(ErrorKind::unprocessable, "the file is empty");
  const bool quotes = FUSED_TRY(has_quotes(*file, source, size));
  const auto head = FUSED_ARROW_TRY("header", file->ReadAt(0, kLineBytesMax));
  const auto text = static_cast<std::string_view>(*head);
  std::size_t line = text.find('\n');
  if (line == text.npos) line = text.size();
  // The header through the same parser: quotes and all.
  auto first = FUSED_TRY(parse(arrow::SliceBuffer(head, 0, static_cast<std::int64_t>(std::min(line + 1, text.size()))),
                               source, {}, true, arrow::csv::ConvertOptions::Defaults()));
  std::vector<std::string> names = first->schema()->field_names();
  if (!names.empty() && names[0].starts_with("\xEF\xBB\xBF")) names[0].erase(0, 3);
  source.data_start = static_cast<std::int64_t>(std::min(line + 1, text.size()));
  source.groups = quotes ? -1 : std::max<std::int64_t>(1, (size - source.data_start + kPieceBytes - 1) / kPieceBytes);
  std::vector<std::shared_ptr<arrow::DataType>> types(names.size(), arrow::null());
  const std::int64_t data = size - source.data_start;
  for (int i = 0; i < (quotes ? 1 : kSamples); ++i) {
    const std::int64_t from = source.data_start + data / kSamples * i;
    const auto sample = FUSED_TRY(lines(*file, source, source.data_start, from, std::min(size, from + kSampleBytes)));
    if (sample->size() == 0) continue;
    const auto table = FUSED_TRY(parse(sample, source, names, quotes, arrow::csv::ConvertOptions::Defaults()));
    for (std::size_t c = 0; c < names.size(); ++c)
      types[c] = wider(types[c], table->schema()->field(static_cast<int>(c))->type());
  }
  arrow::FieldVector fields;
  for (std::size_t c = 0; c < names.size(); ++c)
    fields.push_back(arrow::field(names[c], types[c]->id() == arrow::Type::NA ? arrow::utf8() : types[c]));
  source.schema = arrow::schema(fields);
  return {};
}

Status read_csv_group(const Source& source, std::int64_t group, const std::vector<std::string>& columns,
                      const SeeBatch& see) {
  const auto file = FUSED_TRY(open_file(source.path));
  const std::int64_t size = FUSED_ARROW_TRY(source.name, file->GetSize());
  auto convert = arrow::csv::ConvertOptions::Defaults();
  convert.include_columns = columns;
  for (const auto& field : source.schema->fields()) convert.column_types[field->name()] = field->type();
  if (source.groups < 0) {  // quoted: a line may hold line ends, so it is read from the beginning
    auto read = arrow::csv::ReadOptions::Defaults();
    read.use_threads = false;
    read.column_names = source.schema->field_names();
    read.block_size = static_cast<std::int32_t>(kPieceBytes);
    FUSED_ARROW_CHECK(source.name, file->Seek(source.data_start));
    auto reader =
        FUSED_ARROW_TRY(source.name, arrow::csv::StreamingReader::Make(arrow::io::default_io_context(), file, read,
                                                                       parse_options(source, true), convert));
    for (std::int64_t row = 0;;) {
      std::shared_ptr<arrow::RecordBatch> batch;
      FUSED_ARROW_CHECK(source.name, reader->ReadNext(&batch));
      if (!batch) return {};
      row += batch->num_rows();
      FUSED_CHECK(see(batch, row - batch->num_rows()));
    }
  }
  const std::int64_t from = source.data_start + group * kPieceBytes;
  const auto text = FUSED_TRY(lines(*file, source, source.data_start, from, std::min(size, from + kPieceBytes)));
  if (text->size() == 0) return {};
  auto table = FUSED_TRY(parse(text, source, source.schema->field_names(), false, convert));
  arrow::TableBatchReader batches(*table);
  batches.set_chunksize(kBatchRows);
  for (std::int64_t row = 0;;) {
    std::shared_ptr<arrow::RecordBatch> batch;
    FUSED_ARROW_CHECK(source.name, batches.ReadNext(&batch));
    if (!batch) return {};
    row += batch->num_rows();
    FUSED_CHECK(see(batch, row - batch->num_rows()));
  }
}

}  // namespace fused::ingest
