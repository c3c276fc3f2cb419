#include "batch/call_arguments.hpp"

#include <sodium/crypto_hash_sha256.h>

#include <algorithm>
#include <charconv>

#include "base/text.hpp"
#include "batch/json_skip.hpp"

namespace fused {

class PieceReader {
 public:
  explicit PieceReader(ArgumentPiece& piece) : piece_(piece), skip_(piece.text_, ArgumentPiece::kDepthMax) {}

  Status read() {
    if (!is_utf8(piece_.text_)) return fail(ErrorKind::invalid_argument, "the body is not UTF-8");
    if (!skip_.take('{')) return wrong("an object with piece, calls and columns or rows");
    if (!skip_.take('}')) {
      do {
        std::string_view name;
        if (!skip_.string(name) || !skip_.take(':')) return wrong("a name and a colon");
        FUSED_CHECK(member(name));
      } while (skip_.take(','));
      if (!skip_.take('}')) return wrong("'}'");
    }
    if (!skip_.is_at_end()) return wrong("the end");
    return check();
  }

 private:
  std::unexpected<Error> wrong(std::string_view expected) const {
    return fail(ErrorKind::invalid_argument, "the body is not as it should be at byte " + std::to_string(skip_.at()) +
                                                 ": " + std::string(expected) +
                                                 " is expected there (docs/reference/submit.md, \"On the wire\")");
  }

  Status member(std::string_view name) {
    if (name == "\"piece\"") {
      piece_.number_ = FUSED_TRY(whole());
      return {};
    }
    if (name == "\"calls\"") return ranges();
    if (name == "\"columns\"") return columns();
    if (name == "\"rows\"") {
      piece_.has_rows_ = true;
      return values(piece_.columns_.emplace_back());
    }
    return wrong("one of piece, calls, columns and rows before it");
  }

  Result<std::int64_t> whole() {
    (void)skip_.sees(' ');
    const std::size_t from = skip_.at();
    if (!skip_.number()) return wrong("a whole number");
    std::int64_t value = 0;
    const char* end = piece_.text_.data() + skip_.at();
    const auto read = std::from_chars(piece_.text_.data() + from, end, value);
    if (read.ec != std::errc{} || read.ptr != end || value < 0) return wrong("a whole number from 0 up before it");
    return value;
  }

  Status ranges() {
    if (!skip_.take('[')) return wrong("a list of [first, number]");
    if (skip_.take(']')) return {};
    do {
      if (!skip_.take('[')) return wrong("[first, number]");
      const std::int64_t first = FUSED_TRY(whole());
      if (!skip_.take(',')) return wrong("','");
      const std::int64_t count = FUSED_TRY(whole());
      if (!skip_.take(']')) return wrong("']'");
      constexpr std::int64_t kMax = ArgumentPiece::kCallIndexMax;
      if (first > kMax || count > kMax || first + count > kMax)
        return wrong("calls up to " + std::to_string(kMax) + " of one batch");
      if (count == 0) continue;
      piece_.ranges_.push_back({static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(count)});
      piece_.calls_ += static_cast<std::size_t>(count);
    } while (skip_.take(','));
    return skip_.take(']') ? Status() : wrong("']'");
  }

  Status columns() {
    if (!skip_.take('{')) return wrong("an object of lists");
    if (skip_.take('}')) return {};
    do {
      auto& column = piece_.columns_.emplace_back();
      if (!skip_.string(column.name) || !skip_.take(':')) return wrong("the name of a parameter and a colon");
      FUSED_CHECK(values(column));
    } while (skip_.take(','));
    return skip_.take('}') ? Status() : wrong("'}'");
  }

  Status values(ArgumentPiece::Column& column) {
    if (!skip_.take('[')) return wrong("a list of values");
    if (skip_.take(']')) return {};
    do {
      const bool is_object = skip_.sees('{');
      if (piece_.has_rows_ && !is_object) return wrong("an object of arguments");
      column.begin.push_back(static_cast<std::uint32_t>(skip_.at()));
      if (!skip_.value()) return wrong("a JSON value, nested at most " + std::to_string(ArgumentPiece::kDepthMax));
      column.end.push_back(static_cast<std::uint32_t>(skip_.at()));
    } while (skip_.take(','));
    return skip_.take(']') ? Status() : wrong("']'");
  }

  Status check() {
    auto& columns = piece_.columns_;
    const auto refuse = [](std::string why) { return fail(ErrorKind::invalid_argument, std::move(why)); };
    if (piece_.number_ < 0) return refuse("the body has no 'piece', a number that counts its pieces from 0");
    FUSED_CHECK(check_ranges());
    if (piece_.has_rows_ && columns.size() > 1) return refuse("the body has both 'rows' and 'columns', or one twice");
    for (const auto& column : columns)
      if (column.begin.size() != piece_.calls_)
        return refuse((piece_.has_rows_ ? "'rows'" : "column " + std::string(column.name.substr(0, 80))) + " has " +
                      std::to_string(column.begin.size()) + " values for " + std::to_string(piece_.calls_) + " calls");
    std::ranges::sort(columns, {}, &ArgumentPiece::Column::name);
    for (std::size_t i = 1; i < columns.size(); ++i)
      if (columns[i].name == columns[i - 1].name)
        return refuse("column " + std::string(columns[i].name.substr(0, 80)) + " is there twice");
    piece_.shape_ = piece_.has_rows_ ? "rows" : "columns";
    for (const auto& column : columns) piece_.shape_ += column.name;
    return {};
  }

  // A call stands in one range only; so there are at most kCallIndexMax, however short the text is.
  Status check_ranges() const {
    auto ranges = piece_.ranges_;
    std::ranges::sort(ranges, {}, &ArgumentPiece::Range::first);
    for (std::size_t i = 1; i < ranges.size(); ++i)
      if (ranges[i].first < ranges[i - 1].first + ranges[i - 1].count)
        return fail(ErrorKind::invalid_argument,
                    "call " + std::to_string(ranges[i].first) + " is in two ranges of 'calls'");
    return {};
  }

  ArgumentPiece& piece_;
  JsonSkip skip_;
};

Result<std::shared_ptr<const ArgumentPiece>> ArgumentPiece::read(std::shared_ptr<const void> owner,
                                                                 std::string_view text) {
  if (text.size() > UINT32_MAX)
    return fail(ErrorKind::too_large, "a piece of " + std::to_string(text.size()) + " bytes; send smaller ones");
  auto piece = std::make_shared<ArgumentPiece>();
  piece->owner_ = std::move(owner);
  piece->text_ = text;
  FUSED_CHECK(PieceReader(*piece).read());
  return piece;
}

std::string_view ArgumentPiece::values(std::size_t column, std::size_t from, std::size_t count) const {
  const Column& c = columns_[column];
  return text_.substr(c.begin[from], c.end[from + count - 1] - c.begin[from]);
}

std::size_t ArgumentPiece::bytes_of(std::size_t position) const {
  std::size_t bytes = 0;
  for (const auto& column : columns_) bytes += column.end[position] - column.begin[position] + 1;
  return bytes;
}

ArgumentDigest ArgumentPiece::digest(std::size_t position) const {
  crypto_hash_sha256_state state;
  crypto_hash_sha256_init(&state);
  const auto add = [&state](std::string_view part) {
    crypto_hash_sha256_update(&state, reinterpret_cast<const unsigned char*>(part.data()), part.size());
  };
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    if (!has_rows_) {
      add(columns_[c].name);
      add(":");
    }
    add(values(c, position, 1));
    if (!has_rows_) add(",");
  }
  ArgumentDigest digest;
  crypto_hash_sha256_final(&state, digest.data());
  return digest;
}

}  // namespace fused
