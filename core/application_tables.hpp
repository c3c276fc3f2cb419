// Tables by name and the processes that read them, joined to the rest of the server.
#pragma once
#include <boost/asio/io_context.hpp>
#include <memory>

#include "application_parts.hpp"
#include "http/endpoints/table_routes.hpp"

namespace fused {

struct Tables {
  TableRegistry registry;
  std::unique_ptr<TableService> service;
  TableParts parts;

  // `pool`: the sandbox of functions, which table processes have too, with limits of their own.
  static Result<std::unique_ptr<Tables>> open(boost::asio::io_context& io, State& state, const Settings& settings,
                                              const PoolOptions& pool, const Clock& clock);
  explicit Tables(Database& database, const Clock& clock) : registry(database, clock) {}
};

}  // namespace fused
