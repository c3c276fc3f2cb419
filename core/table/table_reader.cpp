#include <arrow/array/util.h>
#include <arrow/compute/api.h>
#include <arrow/util/parallel.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <list>
#include <mutex>
#include <set>
#include <unordered_map>

#include "result/frame.hpp"
#include "table/capped_pool.hpp"
#include "table/page_reader.hpp"
#include "table/parquet_call.hpp"
#include "table/select_rows.hpp"
#include "table/table.hpp"
#include "table/where.hpp"

namespace fused {
namespace {

using TablePointer = std::shared_ptr<arrow::Table>;
constexpr auto kRemoteLook = std::chrono::seconds(2);  // how long an object's version is believed
constexpr std::int64_t kThreadsRows = 20'000;          // a read of fewer rows is not worth a thread

// Least recently used; the owner locks.
template <class Value>
class Recent {
 public:
  explicit Recent(std::size_t size) : size_(size) {}
  Value* find(const std::string& key) {
    const auto found = index_.find(key);
    if (found == index_.end()) return nullptr;
    order_.splice(order_.begin(), order_, found->second);
    return &found->second->second;
  }
  void each(auto&& see) {
    for (auto& [key, value] : order_) see(key, value);
  }
  void put(const std::string& key, Value value) {
    if (Value* known = find(key)) {
      *known = std::move(value);
      return;
    }
    order_.emplace_front(key, std::move(value));
    index_[key] = order_.begin();
    if (order_.size() <= size_) return;
    index_.erase(order_.back().first);
    order_.pop_back();
  }

 private:
  std::size_t size_;
  std::list<std::pair<std::string, Value>> order_;
  std::unordered_map<std::string, typename std::list<std::pair<std::string, Value>>::iterator> index_;
};

template <class T>
struct Kept {
  std::shared_ptr<const T> value;
  std::string version;
  std::chrono::steady_clock::time_point seen;
};

// What one chunk must be read for, as columns of its file.
struct Plan {
  std::vector<int> fields;         // to read
  std::vector<std::string> names;  // to hand on, in this order
};

Result<Plan> plan_of(const ParquetFile& file, const std::vector<std::string>& columns, const Where& where,
                     bool bounds) {
  Plan plan;
  std::vector<int> wanted = FUSED_TRY(file.fields(columns));
  if (columns.empty()) {
    std::erase(wanted, file.covering_field());
    for (const int field : wanted) plan.names.push_back(file.schema()->field(field)->name());
  } else {
    plan.names = columns;
  }
  if (const auto compared = where.columns(); !compared.empty())
    for (const int field : FUSED_TRY(file.fields(compared))) wanted.push_back(field);
  if (bounds && file.geometry_field() >= 0) wanted.push_back(file.geometry_field());
  if (bounds && file.covering_field() >= 0) wanted.push_back(file.covering_field());
  std::ranges::sort(wanted);
  const auto [begin, end] = std::ranges::unique(wanted);
  wanted.erase(begin, end);
  plan.fields = std::move(wanted);
  return plan;
}

Result<TablePointer> hand_on(const TablePointer& table, const std::vector<std::string>& names) {
  std::vector<int> order;
  for (const auto& name : names) {
    const auto all = table->schema()->GetAllFieldIndices(name);
    for (const int at : all)
      if (std::ranges::find(order, at) == order.end()) order.push_back(at);
  }
  return FUSED_ARROW_TRY("columns", table->SelectColumns(order));
}

Result<TablePointer> empty_like(const ParquetFile& file, const Plan& plan) {
  std::vector<std::shared_ptr<arrow::Field>> fields;
  for (const int at : plan.fields) fields.push_back(file.schema()->field(at));
  auto empty = FUSED_ARROW_TRY("columns", arrow::Table::MakeEmpty(arrow::schema(fields, file.schema()->metadata())));
  return hand_on(empty, plan.names);
}

Result<TablePointer> take(const TablePointer& table, const std::vector<std::int64_t>& rows, arrow::MemoryPool* pool) {
  if (static_cast<std::int64_t>(rows.size()) == table->num_rows()) return table;
  const auto count = static_cast<std::int64_t>(rows.size());
  if (rows.empty() || rows.back() - rows.front() + 1 == count) return table->Slice(rows.empty() ? 0 : rows[0], count);
  const auto indexes = std::make_shared<arrow::Int64Array>(count, arrow::Buffer::Wrap(rows));
  arrow::compute::ExecContext context(pool);
  context.set_use_threads(false);
  const auto taken = FUSED_ARROW_TRY(
      "rows", arrow::compute::Take(table, indexes, arrow::compute::TakeOptions::NoBoundsCheck(), &context));
  return taken.table();
}

Result<TablePointer> read_part(const ParquetFile& file, int row_group, const Plan& plan, const Where& where,
                               std::span<const Box> boxes, arrow::MemoryPool* pool) {
  RowRanges rows = rows_near(file, row_group, boxes);
  if (boxes.empty()) rows = {{0, file.rows_of(row_group)}};
  if (count_rows(rows) == 0) return empty_like(file, plan);
  if (!boxes.empty() && file.covering_field() >= 0 && !file.index(row_group)->leaves.empty()) {
    // The boxes first: they are small, and often whole pages of everything else need not be read then.
    const int covering[] = {file.covering_field()};
    auto sides = FUSED_TRY(read_rows(file, row_group, rows, covering, pool, false));
    sides = FUSED_ARROW_TRY("columns", sides->CombineChunks(pool));
    rows = rows_with_boxes_near(*sides, file, rows, boxes);
    if (rows.empty()) return empty_like(file, plan);
  }
  auto table = FUSED_TRY(read_rows(file, row_group, rows, plan.fields, pool, false));
  table = FUSED_ARROW_TRY("columns", table->CombineChunks(pool));
  if (!where.everything()) {
    const auto holds = FUSED_TRY(where.holds(*table, pool));
    std::vector<std::int64_t> kept;
    for (std::int64_t i = 0; i < holds->length(); ++i)
      if (holds->Value(i)) kept.push_back(i);
    table = FUSED_TRY(take(table, kept, pool));
    table = FUSED_ARROW_TRY("columns", table->CombineChunks(pool));
  }
  if (boxes.empty()) return hand_on(table, plan.names);
  const auto kept = FUSED_TRY(rows_that_meet(*table, file, boxes));
  return take(FUSED_TRY(hand_on(table, plan.names)), kept, pool);
}

// Tells the thinner of each row that can matter: the covering is read, and what the condition compares.
Status look_at_rows(const ParquetFile& file, int row_group, std::uint32_t part, const Where& where,
                    std::span<const Box> boxes, arrow::MemoryPool* pool, Thinner& thinner, std::int64_t& looked_at) {
  if (file.covering_field() < 0)
    return fail(ErrorKind::unprocessable, file.name() + " has no bounding box column; its rows cannot be thinned");
  RowRanges rows = rows_near(file, row_group, boxes);
  looked_at += count_rows(rows);
  if (rows.empty()) return {};
  std::vector<int> fields{file.covering_field()};
  if (!where.everything())
    for (const int field : FUSED_TRY(file.fields(where.columns()))) fields.push_back(field);
  std::ranges::sort(fields);
  const auto [begin, end] = std::ranges::unique(fields);
  fields.erase(begin, end);
  auto table = FUSED_TRY(read_rows(file, row_group, rows, fields, pool, false));
  table = FUSED_ARROW_TRY("columns", table->CombineChunks(pool));
  const auto sides = covering_boxes(*table, file);
  if (!sides) return fail(ErrorKind::unprocessable, "the bounding boxes of " + file.name() + " cannot be read");
  std::shared_ptr<arrow::BooleanArray> holds;
  if (!where.everything()) holds = FUSED_TRY(where.holds(*table, pool));
  std::int64_t at = 0;
  for (const RowRange& range : rows)
    for (std::int64_t row = range.begin; row < range.end; ++row, ++at)
      if (!holds || holds->Value(at)) thinner.add(part, row, (*sides)[static_cast<std::size_t>(at)]);
  return {};
}

// Exactly these rows of a row group.
Result<TablePointer> read_chosen(const ParquetFile& file, int row_group, const Plan& plan,
                                 const std::vector<std::int64_t>& rows, arrow::MemoryPool* pool) {
  const RowRanges ranges = ranges_of(rows);
  auto table = FUSED_TRY(read_rows(file, row_group, ranges, plan.fields, pool, false));
  table = FUSED_ARROW_TRY("columns", FUSED_TRY(hand_on(table, plan.names))->CombineChunks(pool));
  std::vector<std::int64_t> within;
  std::int64_t before = 0;
  auto range = ranges.begin();
  for (const std::int64_t row : rows) {
    for (; row >= range->end; ++range) before += range->end - range->begin;
    within.push_back(before + row - range->begin);
  }
  return take(table, within, pool);
}

Result<TablePointer> concatenate(std::vector<TablePointer> parts, const std::vector<std::string>& names) {
  const TablePointer first = parts.front();
  std::erase_if(parts, [](const TablePointer& part) { return part->num_rows() == 0; });
  if (parts.empty()) return first;
  for (auto& part : parts) part = part->ReplaceSchemaMetadata(parts.front()->schema()->metadata());
  if (parts.size() == 1) return parts.front();
  auto whole = arrow::ConcatenateTables(parts);
  if (!whole.ok())
    return fail(ErrorKind::unprocessable, "the files of the table do not have the same columns" +
                                              std::string(names.empty() ? "; name the columns to read" : "") + ": " +
                                              whole.status().message().substr(0, 400));
  return *whole;
}

std::string names_of_files(const Table& table) {
  std::set<std::string_view> names;
  for (const auto& chunk : table.chunks()) names.insert(chunk.file_id);
  std::string text = std::to_string(names.size()) + " files:";
  int shown = 0;
  for (const auto name : names) {
    if (++shown > 20) return text + " …";
    text += ' ' + std::string(name.substr(0, 60));
  }
  return text;
}

}  // namespace

struct TableReader::State {
  explicit State(Options given) : options(given), tables(given.tables_max), files(given.files_max) {}
  Options options;
  std::mutex mutex;
  Recent<Kept<Table>> tables;
  Recent<Kept<ParquetFile>> files;
};

TableReader::TableReader(Options options) : state_(std::make_unique<State>(options)) {}
TableReader::~TableReader() = default;

Result<std::shared_ptr<const Table>> TableReader::open(std::string_view url) {
  Location location = FUSED_TRY(locate(url));
  const auto now = std::chrono::steady_clock::now();
  Kept<Table> kept;
  {
    const std::lock_guard lock(state_->mutex);
    if (const auto* known = state_->tables.find(location.url)) kept = *known;
  }
  if (kept.value && !location.local && now - kept.seen < kRemoteLook) return kept.value;
  if (kept.value)
    if (const auto version = file_version(location, kSampleName); !version || *version != kept.version) kept = {};
  if (!kept.value) {
    auto table = Table::open(location);
    if (!table) return table;
    kept = {*table, (*table)->version(), now};
  }
  kept.seen = now;
  const std::lock_guard lock(state_->mutex);
  state_->tables.put(location.url, kept);
  return kept.value;
}

Result<std::shared_ptr<const ParquetFile>> TableReader::file(const Location& location, const std::string& name) {
  const std::string key = location.url + '\n' + name;
  const auto now = std::chrono::steady_clock::now();
  Kept<ParquetFile> kept;
  {
    const std::lock_guard lock(state_->mutex);
    if (const auto* known = state_->files.find(key)) kept = *known;
  }
  if (kept.value && !location.local && now - kept.seen < kRemoteLook) return kept.value;
  const std::string version = FUSED_TRY(file_version(location, name));
  if (!kept.value || kept.version != version) {
    auto file = ParquetFile::open(location, name);
    if (!file) return file;
    kept = {*file, version, now};
  }
  kept.seen = now;
  const std::lock_guard lock(state_->mutex);
  state_->files.put(key, kept);
  return kept.value;
}

Result<TablePointer> TableReader::read_once(const Table& table, const BoxRead& read) {
  const Where where = FUSED_TRY(Where::parse(read.where));
  const auto boxes = read.bounds ? FUSED_TRY(boxes_of(*read.bounds)) : std::vector<Box>();
  std::vector<std::size_t> wanted;
  if (boxes.empty()) {
    for (std::size_t i = 0; i < table.chunks().size(); ++i) wanted.push_back(i);
  } else {
    for (const Box& box : boxes)
      for (const std::size_t at : table.find(box)) wanted.push_back(at);
    std::ranges::sort(wanted);
    const auto [begin, end] = std::ranges::unique(wanted);
    wanted.erase(begin, end);
  }
  if (table.chunks().empty()) return arrow::Table::Make(arrow::schema({}), arrow::ArrayVector(), 0);
  const auto file_of = [&](const ChunkRow& chunk) -> Result<std::shared_ptr<const ParquetFile>> {
    auto opened = file(table.location(), chunk.file_id + ".parquet");
    if (opened && chunk.chunk_id >= (*opened)->row_groups())
      return fail(ErrorKind::unprocessable, (*opened)->name() + " has " + std::to_string((*opened)->row_groups()) +
                                                " row groups and the table's _sample names chunk " +
                                                std::to_string(chunk.chunk_id));
    return opened;
  };
  // Columns are looked for even where nothing will be read, so that a wrong name is always told.
  const auto& first_chunk = table.chunks()[wanted.empty() ? 0 : wanted[0]];
  const auto first = FUSED_TRY(file_of(first_chunk));
  const auto first_plan = FUSED_TRY(plan_of(*first, read.columns, where, !boxes.empty()));
  if (wanted.empty()) return empty_like(*first, first_plan);

  const auto pool = make_capped_pool(state_->options.memory_bytes_max);
  std::vector<Result<TablePointer>> parts(wanted.size(), TablePointer());
  std::atomic<std::int64_t> rows = 0;
  const auto read_one = [&](std::size_t i) -> Result<TablePointer> {
    if (read.rows_max >= 0 && rows > read.rows_max)
      return fail(ErrorKind::too_large, "more than " + std::to_string(read.rows_max) +
                                            " rows; ask for a smaller box, or fewer by a condition");
    const ChunkRow& chunk = table.chunks()[wanted[i]];
    const auto opened = FUSED_TRY(file_of(chunk));
    const auto plan = opened == first ? first_plan : FUSED_TRY(plan_of(*opened, read.columns, where, !boxes.empty()));
    auto part = FUSED_TRY(read_part(*opened, static_cast<int>(chunk.chunk_id), plan, where, boxes, pool.get()));
    rows += part->num_rows();
    return part;
  };
  if (read.thin) {
    Thinner thinner(*read.thin);
    std::int64_t looked_at = 0;
    auto thinned = parquet_call("cannot read the table", [&]() -> Result<TablePointer> {
      for (std::size_t i = 0; i < wanted.size(); ++i) {
        const auto opened = FUSED_TRY(file_of(table.chunks()[wanted[i]]));
        FUSED_CHECK(look_at_rows(*opened, static_cast<int>(table.chunks()[wanted[i]].chunk_id),
                                 static_cast<std::uint32_t>(i), where, boxes, pool.get(), thinner, looked_at));
        if (read.rows_max >= 0 && looked_at > read.rows_max)
          return fail(ErrorKind::too_large, "more than " + std::to_string(read.rows_max) + " rows to choose from");
      }
      std::vector<TablePointer> chosen;
      for (const auto& part : thinner.take()) {
        const ChunkRow& chunk = table.chunks()[wanted[part.part]];
        const auto opened = FUSED_TRY(file_of(chunk));
        const auto plan = FUSED_TRY(plan_of(*opened, read.columns, Where(), false));
        chosen.push_back(
            FUSED_TRY(read_chosen(*opened, static_cast<int>(chunk.chunk_id), plan, part.rows, pool.get())));
      }
      return chosen.empty() ? empty_like(*first, first_plan) : concatenate(std::move(chosen), read.columns);
    });
    return thinned;
  }
  std::int64_t rows_near_by = 0;
  for (const std::size_t at : wanted) rows_near_by += std::max<std::int64_t>(table.chunks()[at].num_rows, 1);
  const auto one = [&](int i) {
    const auto at = static_cast<std::size_t>(i);
    parts[at] = parquet_call("cannot read the table", [&] { return read_one(at); });
    return parts[at] ? arrow::Status::OK() : arrow::Status::Cancelled("");
  };
  const bool threads = read.threads && wanted.size() > 1 && (rows_near_by > kThreadsRows || !table.location().local);
  (void)arrow::internal::OptionalParallelFor(threads, static_cast<int>(wanted.size()), one);
  std::vector<TablePointer> whole;
  for (auto& part : parts) {
    if (!part) return part;
    whole.push_back(std::move(*part));
  }
  if (read.rows_max >= 0 && rows > read.rows_max)
    return fail(ErrorKind::too_large, std::to_string(rows.load()) + " rows, and " + std::to_string(read.rows_max) +
                                          " are allowed; ask for a smaller box, or fewer by a condition");
  return concatenate(std::move(whole), read.columns);
}

Result<TablePointer> TableReader::read_box(std::string_view url, const BoxRead& read) {
  for (int attempt = 0;; ++attempt) {
    const auto table = FUSED_TRY(open(url));
    auto rows = read_once(*table, read);
    // Replaced meanwhile: rows may come from two versions, or a file may be gone. Whole reads from S3 are not looked at
    // again (a request each); the files' own versions are.
    if (rows && !table->location().local) return rows;
    const auto now = file_version(table->location(), kSampleName);
    if (now && *now == table->version()) return rows;
    // What was seen a moment ago is not believed any more.
    const std::lock_guard lock(state_->mutex);
    const std::string& seen = table->location().url;
    state_->tables.each([&](const std::string& key, Kept<Table>& kept) {
      if (key == seen) kept.seen = {};
    });
    state_->files.each([&](const std::string& key, Kept<ParquetFile>& kept) {
      if (key.starts_with(seen + '\n')) kept.seen = {};
    });
    if (attempt > 0)
      return fail(ErrorKind::conflict, "the table '" + table->location().shown + "' is being replaced; read it again");
  }
}

Result<TablePointer> TableReader::read_chunk(std::string_view url, const std::optional<std::string>& file_id,
                                             std::optional<std::int64_t> chunk_id,
                                             const std::vector<std::string>& columns) {
  Location location = FUSED_TRY(locate(url));
  std::string name = file_id ? *file_id + ".parquet" : std::string();
  if (!file_id) {
    const auto slash = location.folder.rfind('/');
    name = location.folder.substr(slash + 1);
    location.folder.resize(slash);
  } else if (!is_file_id(*file_id)) {
    return fail(ErrorKind::invalid_argument, "'" + file_id->substr(0, 80) + "' is not the id of a file");
  }
  auto opened = file(location, name);
  if (!opened) {
    if (opened.error().kind != ErrorKind::not_found) return std::unexpected(opened.error());
    if (!file_id) return fail(ErrorKind::not_found, "there is no file '" + location.path(name) + "'");
    const auto table = open(url);
    if (!table) return std::unexpected(table.error());
    return fail(ErrorKind::not_found,
                "the table '" + location.shown + "' has no file '" + *file_id + "'; it has " + names_of_files(**table));
  }
  const ParquetFile& parquet = **opened;
  if (chunk_id && (*chunk_id < 0 || *chunk_id >= parquet.row_groups()))
    return fail(
        ErrorKind::not_found,
        "there is no chunk " + std::to_string(*chunk_id) + " in '" + location.path(name) + "'; it has " +
            (parquet.row_groups() == 0 ? std::string("none") : "0 … " + std::to_string(parquet.row_groups() - 1)));
  const Plan plan = FUSED_TRY(plan_of(parquet, columns, Where(), false));
  const auto pool = make_capped_pool(state_->options.memory_bytes_max);
  std::vector<TablePointer> parts;
  const int begin = chunk_id ? static_cast<int>(*chunk_id) : 0;
  const int end = chunk_id ? begin + 1 : parquet.row_groups();
  for (int group = begin; group < end; ++group) {
    auto part = FUSED_TRY(
        read_rows(parquet, group, {{0, parquet.rows_of(group)}}, plan.fields, pool.get(), plan.fields.size() > 1));
    parts.push_back(FUSED_TRY(hand_on(part, plan.names)));
  }
  return parts.empty() ? empty_like(parquet, plan) : concatenate(std::move(parts), columns);
}

Result<std::shared_ptr<arrow::Schema>> TableReader::schema(std::string_view url) {
  const auto table = FUSED_TRY(open(url));
  if (table->chunks().empty()) return arrow::schema({});
  const auto opened = FUSED_TRY(file(table->location(), table->chunks()[0].file_id + ".parquet"));
  const Plan plan = FUSED_TRY(plan_of(*opened, {}, Where(), false));
  return FUSED_TRY(empty_like(*opened, plan))->schema();
}

}  // namespace fused
