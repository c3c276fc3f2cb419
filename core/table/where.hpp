// The condition of a read: a list of [column, op, value], all of which must hold; or a list of such lists, of which one
// must. The form that pyarrow, pandas and geopandas take as `filters`, written as JSON.
//
//   [["height", ">", 20], ["cls", "in", ["house", "shed"]]]
//
// Operators: = == != < <= > >= in, not in, is null, is not null (these two without a value). A null in a comparison
// does not hold, but for "not in". A text is read as the column's type where that is a date, time, decimal or the like.
#pragma once
#include <arrow/array.h>
#include <arrow/table.h>

#include <boost/json/value.hpp>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace fused {

inline constexpr std::size_t kWhereBytesMax = 256 << 10;
inline constexpr std::size_t kWhereTermsMax = 100;
inline constexpr std::size_t kWhereValuesMax = 10'000;  // of an "in"

class Where {
 public:
  // "" and "null" and "[]": everything. invalid_argument names the term that is wrong and the operators there are.
  static Result<Where> parse(std::string_view json);

  bool everything() const { return alternatives_.empty(); }
  std::vector<std::string> columns() const;
  // True where the condition holds; no nulls. unprocessable where a column cannot be compared with the value.
  Result<std::shared_ptr<arrow::BooleanArray>> holds(const arrow::Table& table, arrow::MemoryPool* pool) const;

 private:
  enum class Operator { equal, not_equal, less, less_equal, greater, greater_equal, in, not_in, null, not_null };
  struct Term {
    std::string column;
    Operator op = Operator::equal;
    boost::json::value value;
  };
  static Result<Term> parse_term(const boost::json::value& said);
  static Result<std::vector<Term>> parse_terms(const boost::json::array& said);
  static Result<std::shared_ptr<arrow::Array>> test(const Term& term, const std::shared_ptr<arrow::Array>& column,
                                                    arrow::MemoryPool* pool);
  std::vector<std::vector<Term>> alternatives_;
};

}  // namespace fused
