#include "cache/result_cache.hpp"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>

#include "base/completion.hpp"

namespace fused {
namespace asio = boost::asio;
namespace {

constexpr auto kTidyEvery = std::chrono::seconds(5);
constexpr auto kFlushHitsEvery = std::chrono::milliseconds(200);
constexpr std::size_t kRecentFunctions = 4'096;
constexpr std::size_t kRecentKeys = 8;
constexpr std::size_t kEntryOverheadBytes = 1'024;
constexpr std::size_t kFileUseBytes = 160;  // of memory, about
constexpr std::uint64_t kCodeLogBytesMax = 64 << 20;

std::size_t weight_of(const CacheEntry& entry, bool mapped) {
  // A mapped body is the kernel's to keep or drop; what it costs us is its place in the table of mappings.
  const std::size_t body = mapped ? entry.body.view.size() / 8 : entry.body.view.size();
  return kEntryOverheadBytes + entry.metadata.size() + entry.files.size() * kFileUseBytes + body;
}

}  // namespace

ResultCache::ResultCache(asio::io_context& io, ResultCacheOptions options, const Clock& clock)
    : io_(io), options_(std::move(options)), clock_(clock), memory_(options_.memory_bytes) {}

std::unique_ptr<ResultCache> ResultCache::open(asio::io_context& io, ResultCacheOptions options, const Clock& clock) {
  auto cache = std::unique_ptr<ResultCache>(new ResultCache(io, std::move(options), clock));
  ResultCache& c = *cache;
  const auto& folder = c.options_.disk.folder;
  auto disk = SegmentStore::open(c.options_.disk, clock);
  if (disk) {
    c.disk_ = *std::move(disk);
  } else {
    c.trouble_ = disk.error().message;
    spdlog::warn("results are cached in memory only: {}", c.trouble_);
  }
  c.hit_log_ = std::make_unique<HitLog>(folder / "hits", clock, c.options_.hit_days_kept);
  c.codes_ = std::make_unique<CodeMemory>(folder / "code.log", [&c](std::string record) {
    const std::size_t bytes = record.size();
    c.enqueue(bytes, [&c, record = std::move(record)] { return c.append_code(record); });
  });
  c.writer_ = std::thread([&c] { c.work(); });
  return cache;
}

ResultCache::~ResultCache() { close(); }

void ResultCache::close() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  if (writer_.joinable()) writer_.join();
  reader_.join();
}

std::int64_t ResultCache::now_ms() const {
  return std::chrono::duration_cast<std::chrono::milliseconds>(clock_.now().time_since_epoch()).count();
}

// ── the server's thread ──

asio::awaitable<SharedCacheEntry> ResultCache::find(const Digest& key) {
  if (auto entry = memory_.find(key)) co_return entry;
  if (!disk_) co_return nullptr;
  auto lookup = disk_->find(key);
  if (lookup.answer == SegmentStore::Answer::missing) co_return nullptr;
  if (lookup.answer == SegmentStore::Answer::here) {
    memory_.put(lookup.entry, weight_of(*lookup.entry, false));
    co_return lookup.entry;
  }
  const std::uint64_t before = generation_;
  // Shared: the waiter may be gone with the io_context while the reader still works.
  auto done = std::make_shared<Completion<SharedCacheEntry>>();
  asio::post(reader_, [this, key, done] {
    auto entry = disk_->load(key);
    asio::post(io_, [done, entry = std::move(entry)] { done->set(entry); });
  });
  SharedCacheEntry entry = co_await done->wait();
  if (entry && generation_ == before) memory_.put(entry, weight_of(*entry, true));
  co_return entry;
}

asio::awaitable<std::string> ResultCache::ask_reader(std::function<std::string()> work) {
  auto done = std::make_shared<Completion<std::string>>();
  asio::post(reader_,
             [this, work = std::move(work), done] { asio::post(io_, [done, said = work()] { done->set(said); }); });
  co_return co_await done->wait();
}

void ResultCache::put(SharedCacheEntry entry) {
  remember(entry->key);
  memory_.put(entry, weight_of(*entry, false));
  if (!disk_) return;
  const std::size_t bytes = entry->body.view.size() + entry->metadata.size();
  enqueue(bytes, [this, entry = std::move(entry)] { return disk_->append(*entry); });
}

void ResultCache::forget(const Digest& key) {
  ++generation_;
  const bool was_in_memory = memory_.erase(key);
  if (!disk_ || !(disk_->index().erase(key) || was_in_memory)) return;
  enqueue(0, [this, key] { return disk_->mark_key(key); });
}

void ResultCache::forget_group(std::uint32_t group) {
  generations_[group] = ++generation_;
  memory_.erase_group(group);
  if (!disk_) return;
  // At once for lookups; entries that are still on their way to the disk will lie before the mark.
  disk_->index().hide_group(group);
  enqueue(0, [this, group] { return disk_->mark_group(group); });
}

std::uint64_t ResultCache::generation(std::uint32_t group) const {
  const auto found = generations_.find(group);
  return found == generations_.end() ? 0 : found->second;
}

void ResultCache::remember(const CacheKey& key) {
  if (recent_.size() >= kRecentFunctions && !recent_.contains(key.group)) recent_.clear();
  auto& keys = recent_[key.group];
  std::erase_if(keys, [&](const CacheKey& known) { return known.digest == key.digest; });
  keys.push_front(key);
  if (keys.size() > kRecentKeys) keys.pop_back();
}

std::optional<std::vector<std::string>> ResultCache::changes(const CacheKey& key) const {
  const auto found = recent_.find(key.group);
  if (found == recent_.end()) return std::nullopt;
  std::optional<std::vector<std::string>> least;
  for (const CacheKey& earlier : found->second) {
    auto changes = key.changes_since(earlier);
    if (!least || changes.size() < least->size()) least = std::move(changes);
  }
  return least;
}

ResultCacheFigures ResultCache::figures() const {
  ResultCacheFigures figures;
  if (disk_) figures.disk = disk_->figures();
  figures.memory_entries = memory_.size();
  figures.memory_bytes = memory_.bytes();
  figures.limit_bytes = options_.disk.bytes_max;
  const auto answers = [this](CacheAnswer answer) { return answers_[static_cast<std::size_t>(answer)]; };
  figures.hits = answers(CacheAnswer::hit);
  figures.stale = answers(CacheAnswer::stale);
  figures.joined = answers(CacheAnswer::joined);
  figures.misses = answers(CacheAnswer::miss);
  const std::lock_guard lock(mutex_);
  figures.stored = stored_;
  figures.not_stored = not_stored_;
  figures.trouble = trouble_;
  return figures;
}

bool ResultCache::flush(std::chrono::milliseconds at_most) {
  std::unique_lock lock(mutex_);
  return idle_.wait_for(lock, at_most, [this] { return tasks_.empty() && !busy_; });
}

void ResultCache::enqueue(std::size_t bytes, std::function<Status()> work) {
  {
    const std::lock_guard lock(mutex_);
    if (bytes > 0 && waiting_bytes_ + bytes > options_.waiting_bytes_max && !tasks_.empty()) {
      ++not_stored_;
      return;
    }
    waiting_bytes_ += bytes;
    tasks_.push_back({bytes, std::move(work)});
  }
  wake_.notify_one();
}

// ── the writing thread ──

void ResultCache::work() {
  auto tidy_at = std::chrono::steady_clock::now() + kTidyEvery;
  std::unique_lock lock(mutex_);
  while (!stop_ || !tasks_.empty()) {
    wake_.wait_for(lock, kFlushHitsEvery, [this] { return stop_ || !tasks_.empty(); });
    while (!tasks_.empty()) {
      const Task task = std::move(tasks_.front());
      tasks_.pop_front();
      waiting_bytes_ -= task.bytes;
      busy_ = true;
      const bool paused = task.bytes > 0 && std::chrono::steady_clock::now() < paused_until_;
      if (paused) ++not_stored_;
      lock.unlock();
      if (!paused) write(task.work);
      lock.lock();
      busy_ = false;
    }
    idle_.notify_all();
    lock.unlock();
    (void)hit_log_->flush();
    if (disk_ && std::chrono::steady_clock::now() >= tidy_at) {
      const auto more = disk_->tidy();
      if (!more) say(std::unexpected(more.error()));
      tidy_at = std::chrono::steady_clock::now() + (more && *more ? std::chrono::seconds(0) : kTidyEvery);
    }
    lock.lock();
  }
  lock.unlock();
  (void)hit_log_->flush();
  if (disk_) disk_->close();
}

void ResultCache::write(const std::function<Status()>& task) {
  Status done = task();
  if (!done && done.error().kind == ErrorKind::storage_full && disk_ && disk_->tidy()) done = task();
  if (!done && done.error().kind == ErrorKind::too_large) {
    const std::lock_guard lock(mutex_);
    ++not_stored_;
    return;  // of this one result
  }
  say(done);
}

// Once when it begins and once when it is over.
void ResultCache::say(const Status& done) {
  const std::lock_guard lock(mutex_);
  if (done) {
    ++stored_;
    if (!trouble_.empty()) spdlog::info("results are stored again");
    trouble_.clear();
    return;
  }
  ++not_stored_;
  if (trouble_.empty())
    spdlog::warn("results are answered and not stored, until this is mended: {}", done.error().message);
  trouble_ = done.error().message;
  paused_until_ = std::chrono::steady_clock::now() + options_.pause_after_trouble;
}

Status ResultCache::append_code(const std::string& record) {
  const std::string name = (options_.disk.folder / "code.log").string();
  const FileDescriptor file(::open(name.c_str(), O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  struct stat is{};
  if (!file || ::fstat(file.get(), &is) != 0) return fail_errno("cannot open " + name, errno);
  if (static_cast<std::uint64_t>(is.st_size) > kCodeLogBytesMax) {
    if (::ftruncate(file.get(), 0) != 0) return fail_errno("cannot cut " + name, errno);
    is.st_size = 0;
  }
  return write_at(file.get(), record, static_cast<std::uint64_t>(is.st_size), name);
}

}  // namespace fused
