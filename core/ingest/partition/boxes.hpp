// partitioning_schema_input: boxes that somebody has chosen decide which chunk a row belongs to.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "ingest/keys.hpp"

namespace fused::ingest {

class BoxIndex {
 public:
  struct Chosen {
    double minx, miny, maxx, maxy;  // degrees
    std::uint32_t file;             // from 0, in order of appearance
  };
  explicit BoxIndex(std::vector<Chosen> boxes);

  std::size_t size() const { return boxes_.size(); }
  const Chosen& box(std::size_t at) const { return boxes_[at]; }
  // The first box that holds the point; where none does, the nearest one.
  std::uint32_t box_of(std::uint32_t x, std::uint32_t y) const;

 private:
  static constexpr int kCells = 256;
  int cell(double value, double least, double size) const;
  std::vector<Chosen> boxes_;
  double minx_ = 0, miny_ = 0, width_ = 1, height_ = 1;
  std::vector<std::vector<std::uint32_t>> cells_;
};

// Reads bbox_minx, bbox_miny, bbox_maxx, bbox_maxy and, where it is there, file_id of a Parquet file: what
// get_chunks_metadata gives. Without file_id ten boxes are a file. Errors name the file.
Result<BoxIndex> read_boxes(const std::string& path);

}  // namespace fused::ingest
