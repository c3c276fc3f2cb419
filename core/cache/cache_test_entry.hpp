// For tests: entries, what is found of them, and a clock that can be set.
#pragma once
#include <sodium.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <optional>
#include <string>

#include "base/clock.hpp"
#include "cache/result_cache.hpp"

namespace fused {

struct SettableClock : Clock {
  WallTime time = WallTime(std::chrono::seconds(1'800'000'000));
  WallTime now() const override { return time; }
};

inline CacheKey test_key(const std::string& value, const std::string& function = "f", const std::string& tile = "") {
  KeyInput input;
  input.organisation = "default";
  input.owner_id = "u1";
  input.function = function;
  input.tile = tile;
  input.parameters = {{"n", value}};
  return make_key(input);
}

inline std::shared_ptr<CacheEntry> test_entry(const CacheKey& key, std::string body, double cost = 0.1) {
  auto entry = std::make_shared<CacheEntry>();
  entry->key = key;
  entry->created_ms = 1'800'000'000'000;
  entry->expires_ms = entry->created_ms + 3'600'000;
  entry->cost_seconds = cost;
  entry->organisation = "default";
  entry->owner_email = "owner@localhost";
  entry->run_id = "11111111-2222-3333-4444-555555555555";
  entry->revision = "r1";
  entry->content_type = "application/json";
  entry->format = "json";
  entry->headers = {{"x-a", "1"}};
  entry->metadata = R"({"stdout":"hello"})";
  entry->functions = {{"id", "rev"}};
  entry->files = {{"/mount/a", 3, 4, 5}};
  entry->etag = etag_of_check(check_of(body));
  entry->body = Bytes::of(std::move(body));
  return entry;
}

// The body that `cache` has of `key`, or "(missing)".
inline std::string found_text(boost::asio::io_context& io, ResultCache& cache, const CacheKey& key) {
  std::optional<std::string> found;
  const auto look = [&]() -> boost::asio::awaitable<void> {
    const auto entry = co_await cache.find(key.digest);
    found = entry ? std::string(entry->body.view) : "(missing)";
  };
  boost::asio::co_spawn(io, look, boost::asio::detached);
  io.restart();
  while (!found) io.run_one_for(std::chrono::seconds(5));
  return *found;
}

}  // namespace fused
