// Tables by name: /api/v1/table/…, and those that a share token opens: /server/v1/realtime-shared/{token}/table/….
#pragma once
#include <boost/asio/awaitable.hpp>
#include <filesystem>
#include <vector>

#include "auth/people.hpp"
#include "auth/share_tokens.hpp"
#include "base/clock.hpp"
#include "http/message.hpp"
#include "http/router.hpp"
#include "storage/state_thread.hpp"
#include "tiles/table_service.hpp"

namespace fused {

struct TableParts {
  TableService* service = nullptr;
  ShareTokens* shares = nullptr;
  People* people = nullptr;
  StateThread* thread = nullptr;
  const Clock* clock = nullptr;
  std::filesystem::path data;  // DIR
};

// A share token of a table names it so, where others hold the id of a function.
inline constexpr std::string_view kSharedTable = "table:";
std::string shared_table_id(std::string_view table_id);

struct ListTables {
  TableParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
struct RegisterTable {
  TableParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
struct RemoveTable {
  TableParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
struct ShareTable {
  TableParts& parts;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
// What there is to know of a table; reads its chunk list.
struct GetTable {
  TableParts& parts;
  bool shared = false;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
struct GetTableRows {
  TableParts& parts;
  bool shared = false;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
struct GetTableTile {
  TableParts& parts;
  bool shared = false;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};
struct GetTableTileJson {
  TableParts& parts;
  bool shared = false;
  boost::asio::awaitable<Reply> operator()(Request& request) const;
};

std::vector<Route> table_routes(TableParts& parts);  // `parts` must outlive the rows

// The table that the path names and the actor, or the path's share token, may read; not_found else.
Result<RegisteredTable> table_of(const TableParts& parts, const Request& request, bool shared);

}  // namespace fused
