// Which rows of many a small picture needs: those that are large in it, and of the small ones one for each few pixels.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "geo/tile.hpp"
#include "table/page_reader.hpp"

namespace fused {

struct Thinning {
  Box view;                        // what the picture shows; minx < maxx
  int cells = 128;                 // across; a row smaller than a cell shares it with the others there
  std::size_t large_max = 10'000;  // of the rows that are larger than a cell the largest are taken
};

// Told of every row's box; afterwards says which rows to read. Ties go to the row that came first, so that the same
// rows give the same picture.
class Thinner {
 public:
  explicit Thinner(const Thinning& thinning);
  // Rows of a part come in their order. Boxes outside of the view are passed over.
  void add(std::uint32_t part, std::int64_t row, const Box& box);

  struct Chosen {
    std::uint32_t part = 0;
    std::vector<std::int64_t> rows;  // in their order
  };
  std::vector<Chosen> take();  // by part

 private:
  struct Row {
    std::uint32_t part = 0;
    std::int64_t row = -1;
    double size = -1;
  };
  Thinning thinning_;
  double cell_width_, cell_height_;
  std::vector<Row> large_;
  std::vector<Row> cells_;
};

}  // namespace fused
