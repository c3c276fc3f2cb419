// Questions about tables as endpoints ask them: versions and tiles are remembered, the rest goes to a process.
#pragma once
#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "geo/tile.hpp"
#include "tiles/table_processes.hpp"
#include "tiles/table_registry.hpp"
#include "tiles/tile_cache.hpp"

namespace fused {

// What a caller may ask of rows; texts are passed on as they came and checked by the process.
struct RowsAsked {
  std::optional<Box> bounds;
  std::vector<std::string> columns;
  std::string where;
  std::string format = "geojson";  // geojson | json | parquet | arrow
  std::optional<std::int64_t> limit;
};

class TableService {
 public:
  static constexpr std::size_t kTileCacheBytes = 128 << 20;
  static constexpr std::chrono::seconds kVersionBelieved{2};

  TableService(boost::asio::io_context& io, TableRegistry& registry, TableProcessesOptions options);

  boost::asio::awaitable<Result<TableAnswer>> info(RegisteredTable table);
  boost::asio::awaitable<Result<TableAnswer>> rows(RegisteredTable table, RowsAsked asked,
                                                   std::shared_ptr<const bool> gone);
  struct Tile {
    CachedTile tile;
    std::string version;
    bool cached = false;
  };
  boost::asio::awaitable<Result<Tile>> tile(RegisteredTable table, TileId id, std::vector<std::string> columns,
                                            std::string where, std::shared_ptr<const bool> gone);

  // After the registry has changed.
  void registry_changed() { processes_.set_folders(registry_.outside_folders()); }
  void stop() { processes_.stop(); }
  TableRegistry& registry() { return registry_; }

 private:
  struct Known {
    std::string version;
    std::chrono::steady_clock::time_point seen;
  };
  void learn(const RegisteredTable& table, const TableAnswer& answer);
  boost::asio::awaitable<Result<std::string>> version(const RegisteredTable& table);

  TableRegistry& registry_;
  TableProcesses processes_;
  TileCache cache_{kTileCacheBytes};
  std::map<std::string, Known> versions_;  // by the id of the registration
};

}  // namespace fused
