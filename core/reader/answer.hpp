// What a table process answers: rows in a format, vector tiles, and what there is to know of a table.
#pragma once
#include <memory>
#include <string>

#include "base/result.hpp"
#include "result/geos.hpp"
#include "table/table.hpp"

namespace fused::reader {

inline constexpr std::int64_t kMemoryBytesMax = 1LL << 30;  // of one read
inline constexpr std::int64_t kRowsMax = 1'000'000;         // of one reply
inline constexpr std::int64_t kReplyBytesMax = 256LL << 20;
inline constexpr std::int64_t kTileRowsMax = 20'000;     // a tile that would have more is thinned
inline constexpr std::int64_t kThinRowsMax = 1'000'000;  // a tile over more rows than this shows the chunks
inline constexpr std::int64_t kTileBytesMax = 4LL << 20;
inline constexpr std::size_t kOverviewBoxesMax = 20'000;  // chunk boxes of an overview tile

struct Answer {
  std::string header;  // JSON: {"content_type","version", …} or {"error":{"kind","message"}}
  std::string body;
};

class Answerer {
 public:
  // `geos` may be null: polygons that rounding makes invalid are then left out of tiles. `mount`: what /mount is here.
  Answerer(std::shared_ptr<result::Geos> geos, std::string mount);

  // `request`: {"op":"version|info|rows|tile","url",…}; see core/tiles/table_question.hpp. Never throws.
  Answer answer(std::string_view request);

 private:
  struct Asked;
  Result<Answer> dispatch(const Asked& asked);
  Result<Answer> info(const Asked& asked);
  Result<Answer> rows(const Asked& asked);
  Result<Answer> tile(const Asked& asked);
  Result<std::vector<std::string>> with_geometry(const Asked& asked);
  Result<std::string> tile_of_rows(const Asked& asked, TileId tile, bool thin, std::int64_t* count);
  Result<bool> has_covering(const Asked& asked);
  Result<std::string> overview(const Table& table, TileId tile, const Box& box);

  TableReader reader_;
  std::shared_ptr<result::Geos> geos_;
  std::string mount_;
};

}  // namespace fused::reader
