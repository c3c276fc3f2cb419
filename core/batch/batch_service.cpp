#include "batch/batch_service.hpp"

#include <fcntl.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cmath>
#include <cstring>

#include "base/child_process.hpp"
#include "logs/run_path.hpp"
#include "run/run_order_json.hpp"
#include "run/run_report.hpp"
#include "storage/durable_write.hpp"

namespace fused {
namespace asio = boost::asio;
namespace json = boost::json;
namespace {

constexpr auto kTick = std::chrono::milliseconds(20);
constexpr auto kRest = std::chrono::milliseconds(500);
constexpr auto kAnswersKept = std::chrono::seconds(60);  // of a batch that is over and whose answers were not all taken
constexpr auto kFinishMax = std::chrono::seconds(10);
constexpr auto kTableMax = std::chrono::minutes(5);
constexpr useconds_t kTableLook_us = 5'000;
constexpr std::size_t kReadAtOnceBytes = 1 << 20;  // below it the loop reads a piece itself

// Runs the program that makes calls.parquet of a batch's results; "" or why it could not. Blocks; `leaving` ends it.
std::string make_table(const BatchServiceOptions& options, int results, std::uint64_t bytes, int table,
                       const std::atomic<bool>& leaving) {
  std::error_code error;
  if (const auto* scratch = options.sandbox.if_contains("scratch"); scratch && scratch->is_string())
    std::filesystem::create_directories(std::string(scratch->get_string()), error);
  if (error) return "the scratch folder of " + options.calls_table.string() + ": " + error.message();
  std::string order = json::serialize(json::object{{"calls", bytes}, {"sandbox", options.sandbox}});
  ChildProcess child{.program = options.calls_table.string(),
                     .arguments = {std::move(order)},
                     .environment = {"LANG=C.UTF-8"},
                     .descriptors = {{results, 3}, {table, 4}}};
  const auto pid = start_child(child);
  if (!pid) return pid.error().message;
  int status = 0;
  const auto deadline = std::chrono::steady_clock::now() + kTableMax;
  while (::waitpid(*pid, &status, WNOHANG) == 0) {
    if (!leaving && std::chrono::steady_clock::now() < deadline) {
      ::usleep(kTableLook_us);
      continue;
    }
    ::kill(*pid, SIGKILL);
    ::waitpid(*pid, &status, 0);
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? "" : "it ended with wait status " + std::to_string(status);
}

}  // namespace

BatchService::BatchService(asio::io_context& io, RunService& runs, CachedRuns* cached, RunLog& log,
                           BatchServiceOptions options)
    : io_(io),
      runs_(runs),
      log_(log),
      options_(std::move(options)),
      host_{io, runs, disk_, options_.data, options_.workers, cached},
      tick_(io) {
  std::error_code error;
  std::filesystem::create_directories(options_.data / "batches", error);
  for (const auto& file : std::filesystem::directory_iterator(options_.data / "batches", error))
    if (file.path().filename().string().starts_with(kTemporaryPrefix)) std::filesystem::remove(file.path(), error);
}

BatchService::~BatchService() {
  leaving_ = true;
  disk_.join();
  writer_.join();
}

asio::awaitable<Result<std::shared_ptr<Batch>>> BatchService::open(RunRequest request, BatchWish wish) {
  if (stopping_) co_return fail(ErrorKind::unavailable, why_stopping_);
  std::size_t of_user = 0;
  for (const auto& [id, entry] : batches_)
    of_user += !entry.is_kept && entry.batch->request().actor.user_id == request.actor.user_id;
  if (batches_.size() >= kOpenMax || of_user >= kOpenOfUserMax)
    co_return fail(ErrorKind::too_many_requests, std::to_string(of_user) + " batches of yours are open; " +
                                                     std::to_string(kOpenOfUserMax) +
                                                     " may be at once. Wait for one, or cancel one");
  const auto batch = std::make_shared<Batch>(host_, std::move(request), wish);
  batch->on_work = [this] { look_after(); };
  batches_.emplace(batch->id(), Entry{batch});
  ++opened_;
  if (host_.cached) batch->answer_from(co_await host_.cached->begin_batch(batch->request()));
  look_after();
  co_return batch;
}

Result<std::shared_ptr<Batch>> BatchService::find(const std::string& id, const Actor& actor) const {
  const auto found = batches_.find(id);
  if (found == batches_.end() || !found->second.batch->belongs_to(actor))
    return fail(ErrorKind::not_found,
                "there is no batch '" + id.substr(0, 60) + "' of yours; it was closed, nobody asked for it for " +
                    std::to_string(options_.idle.count()) + " s, or the server has been started anew");
  return found->second.batch;
}

asio::awaitable<BatchService::Piece> BatchService::read(std::shared_ptr<const void> owner, std::string_view text) {
  const auto read = [owner, text] { return ArgumentPiece::read(owner, text); };
  if (text.size() <= kReadAtOnceBytes) co_return read();
  co_return co_await reader_.run(read);
}

void BatchService::close(const std::shared_ptr<Batch>& batch) {
  batch->close();
  look_after();
  if (living_) tick_.cancel();
}

std::string BatchService::log_dir(const Batch& batch) const {
  return RunPath::of(batch.started(), batch.request().actor.email, batch.id()).as_seen_by_functions();
}

BatchFigures BatchService::figures() const {
  BatchFigures figures{.opened = opened_, .calls = calls_};
  for (const auto& [id, entry] : batches_) {
    figures.open += !entry.is_kept;
    figures.waiting += entry.batch->counts().waiting;
    if (!entry.is_kept) figures.calls += entry.batch->counts().finished;
  }
  return figures;
}

void BatchService::look_after() {
  if (std::exchange(living_, true)) return;
  asio::co_spawn(io_, live(), asio::detached);
}

asio::awaitable<void> BatchService::live() {
  while (!batches_.empty()) {
    bool busy = false;
    const auto now = std::chrono::steady_clock::now();
    for (auto at = batches_.begin(); at != batches_.end();) {
      Entry& entry = at->second;
      Batch& batch = *entry.batch;
      if (entry.is_kept && (batch.is_acknowledged() || now - entry.kept_at > kAnswersKept) && !batch.is_asked()) {
        at = batches_.erase(at);
        continue;
      }
      if (batch.is_busy()) {
        busy = true;
        batch.tick();
      }
      if (!batch.is_closed() && !batch.is_asked() && now - batch.last_asked() > options_.idle) {
        spdlog::info("batch {} is cancelled: nobody has asked for it for {} s", batch.id(), options_.idle.count());
        batch.cancel();
        batch.close();
      }
      if (batch.is_over() && !std::exchange(entry.is_ending, true))
        asio::co_spawn(io_, end(entry.batch), asio::detached);
      ++at;
    }
    tick_.expires_after(busy ? std::chrono::steady_clock::duration(kTick) : kRest);
    boost::system::error_code ignored;
    co_await tick_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
  living_ = false;
}

// calls.parquet of the batch, beside the folder that it will come into; "" where it could not be made.
asio::awaitable<std::string> BatchService::write_calls(std::shared_ptr<Batch> batch) {
  batch->results().seal();
  const auto results = co_await batch->results().whole_file();
  const std::filesystem::path folder = options_.data / "batches";
  const std::filesystem::path path = folder / (batch->id() + ".parquet");
  const std::string writing = (folder / (std::string(kTemporaryPrefix) + batch->id())).string();
  std::string problem = results ? "" : results.error().message;
  if (problem.empty()) {
    const int table = ::open(writing.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
    if (table < 0) {
      problem = std::strerror(errno);
    } else {
      const auto done = std::make_shared<Completion<std::string>>();
      asio::post(writer_, [this, done, table, file = *results, bytes = batch->results().bytes()] {
        std::string why = make_table(options_, file, bytes, table, leaving_);
        ::close(table);
        asio::post(io_, [done, why = std::move(why)] { done->set(why); });
      });
      problem = co_await done->wait();
    }
  }
  if (problem.empty() && ::rename(writing.c_str(), path.c_str()) != 0) problem = std::strerror(errno);
  if (problem.empty()) co_return path.string();
  ::unlink(writing.c_str());
  spdlog::error("batch {} has no calls.parquet: {}", batch->id(), problem);
  co_return std::string();
}

RunRecord BatchService::record_of(Batch& batch) const {
  const RunRequest& request = batch.request();
  const BatchCounts& counts = batch.counts();
  const auto of = [&counts](CallStatus status) { return counts.by_status[static_cast<std::size_t>(status)]; };
  const std::size_t failed = of(CallStatus::error) + of(CallStatus::timeout);
  RunRecord record;
  record.request_id = batch.id();
  record.user_email = request.actor.email;
  record.udf_name = request.function->name;
  record.collection_name = request.function->collection_name;
  record.started = batch.started();
  record.execution_time_seconds = batch.seconds();
  record.outcome = failed > 0 ? "user_error" : of(CallStatus::cancelled) > 0 ? "cancelled" : "ok";
  record.parameters_json = parameters_json(request);
  record.batch_json = json::serialize(json::object{{"calls", counts.taken},
                                                   {"success", of(CallStatus::success)},
                                                   {"error", of(CallStatus::error)},
                                                   {"timeout", of(CallStatus::timeout)},
                                                   {"cancelled", of(CallStatus::cancelled)},
                                                   {"from_cache", batch.answered()}});
  record.revision = request.function->revision;
  record.udf_id = request.function->id;
  record.entrypoint = request.function->entrypoint;
  record.x_request_id = request.x_request_id;
  record.share_token_id = request.actor.share_token_id;
  record.peak_memory_bytes = batch.peak_memory_bytes();
  record.result_bytes = static_cast<std::int64_t>(batch.result_bytes());
  record.code = std::shared_ptr<const std::string>(request.function, &request.function->code);
  record.code_hash = request.function->code_hash;
  if (!request.function->headers.empty())
    record.headers_json = std::make_shared<const std::string>(headers_json(*request.function));
  record.stdout_text = batch.out().render();
  if (failed > 0) {
    record.error_class = "BatchError";
    record.error_message = std::to_string(failed) + " of " + std::to_string(counts.taken) + " calls failed";
    record.stderr_text = record.error_message + "; calls.parquet has the error of each. The first:\n";
    for (const auto& error : batch.first_errors()) record.stderr_text += error + "\n";
  }
  return record;
}

// What this batch's calls have given, and what is still young enough of earlier ones; empty where that is too much.
asio::awaitable<Bytes> BatchService::pack(std::shared_ptr<Batch> batch, std::int64_t now_ms) {
  CallsToKeep calls;
  batch->results().seal();
  for (std::uint64_t number = 0; number < batch->results().chunks(); ++number) {
    const auto chunk = co_await batch->results().chunk(number, true);
    if (!chunk) co_return Bytes{};
    const auto ended = ResultChunk::first_of(chunk->view);
    const auto keep = [&](const ResultChunk::Call& call) {
      if (call.status != CallStatus::success) return;
      ArgumentDigest arguments;
      std::memcpy(arguments.data(), call.digest, arguments.size());
      calls.add(arguments, call.attempts == 0 ? std::llround(call.started * 1e3) : now_ms, call.record);
    };
    if (!ended || !ended->for_each(keep)) co_return Bytes{};
    if (calls.is_too_large()) co_return Bytes{};
  }
  if (const auto& kept = batch->kept_calls())
    for (std::size_t i = 0; i < kept->calls(); ++i) {
      ArgumentDigest arguments;
      const auto found = kept->at(i, arguments);
      if (found.made_ms >= batch->kept()->oldest_ms) calls.add(arguments, found.made_ms, found.record);
    }
  if (calls.is_too_large()) co_return Bytes{};
  co_return Bytes::of(calls.bytes());
}

asio::awaitable<void> BatchService::keep(std::shared_ptr<Batch> batch) {
  if (!batch->kept()) co_return;
  const std::size_t good = batch->counts().by_status[static_cast<std::size_t>(CallStatus::success)];
  std::function<asio::awaitable<Bytes>(std::int64_t)> pack;
  if (batch->kept()->on && good > batch->answered() && good <= KeptCalls::kCallsMax)
    pack = [this, batch](std::int64_t now_ms) { return this->pack(batch, now_ms); };
  const std::string why =
      co_await host_.cached->keep_batch(batch->request(), *batch->kept(), std::move(pack), batch->seconds());
  if (!why.empty()) spdlog::debug("results of batch {} are not kept: {}", batch->id(), why);
}

asio::awaitable<void> BatchService::end(std::shared_ptr<Batch> batch) {
  co_await keep(batch);
  RunRecord record = record_of(*batch);
  if (batch->counts().finished > 0) record.calls_file = co_await write_calls(batch);
  if (const auto kept = log_.append(record); !kept)
    spdlog::error("batch {} is not in the log: {}", batch->id(), kept.error().message);
  const auto found = batches_.find(batch->id());
  if (found == batches_.end()) co_return;
  found->second.is_kept = true;
  found->second.kept_at = std::chrono::steady_clock::now();
  calls_ += batch->counts().finished;
}

void BatchService::stop(const std::string& why) {
  if (std::exchange(stopping_, true)) return;
  why_stopping_ = why;
  for (const auto& [id, entry] : batches_) {
    entry.batch->stop(why);
    entry.batch->close();
  }
  if (living_) tick_.cancel();
}

asio::awaitable<void> BatchService::finish() {
  const auto deadline = std::chrono::steady_clock::now() + kFinishMax;
  const auto all_kept = [this] {
    return std::ranges::all_of(batches_, [](const auto& each) { return each.second.is_kept; });
  };
  while (!all_kept() && std::chrono::steady_clock::now() < deadline) {
    asio::steady_timer pause(io_, kTick);
    co_await pause.async_wait(asio::use_awaitable);
  }
}

}  // namespace fused
