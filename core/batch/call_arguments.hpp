// A piece of a batch: the arguments of many calls as the JSON text in which they came. It is checked once and never
// made into values here: what a group of calls gets is cut out of it.
//
//   {"piece": 3, "calls": [[0, 500], [700, 1]], "columns": {"n": [1, 2, …], "tag": ["a", …]}}
//   {"piece": 4, "calls": [[501, 2]], "rows": [{"n": 1}, {"n": 2, "tag": "x"}]}
//
// `calls`: first index and number, in the order of the values. Without arguments both "columns" and "rows" may be left
// out.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace fused {

using ArgumentDigest = std::array<unsigned char, 32>;

class ArgumentPiece {
 public:
  static constexpr std::size_t kDepthMax = 32;
  static constexpr std::uint32_t kCallIndexMax = 16'000'000;

  // `text` lives as long as `owner`. invalid_argument names what is wrong and where.
  static Result<std::shared_ptr<const ArgumentPiece>> read(std::shared_ptr<const void> owner, std::string_view text);

  struct Range {
    std::uint32_t first = 0;
    std::uint32_t count = 0;
  };
  std::int64_t number() const { return number_; }
  const std::vector<Range>& ranges() const { return ranges_; }
  std::size_t calls() const { return calls_; }
  std::size_t bytes() const { return text_.size() + calls_ * 8 * (columns_.empty() ? 1 : columns_.size()); }

  // Pieces of one shape go into one group: equal names of columns, or both by rows.
  const std::string& shape() const { return shape_; }
  bool has_rows() const { return has_rows_; }
  std::size_t columns() const { return columns_.size(); }                            // one where it has rows
  std::string_view name(std::size_t column) const { return columns_[column].name; }  // in its quotes
  // The values of calls [from, from + count), with the commas between them.
  std::string_view values(std::size_t column, std::size_t from, std::size_t count) const;
  std::size_t bytes_of(std::size_t position) const;
  // SHA-256 of the call's own arguments as they came, by name.
  ArgumentDigest digest(std::size_t position) const;

 private:
  friend class PieceReader;
  struct Column {
    std::string_view name;
    std::vector<std::uint32_t> begin, end;
  };
  std::shared_ptr<const void> owner_;
  std::string_view text_;
  std::int64_t number_ = -1;
  std::vector<Range> ranges_;
  std::size_t calls_ = 0;
  std::string shape_;
  bool has_rows_ = false;
  std::vector<Column> columns_;  // by name
};

}  // namespace fused
