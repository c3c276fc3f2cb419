#include "table/where.hpp"

#include <arrow/array/concatenate.h>
#include <arrow/array/util.h>
#include <arrow/builder.h>
#include <arrow/compute/api.h>
#include <arrow/compute/initialize.h>
#include <arrow/scalar.h>

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <mutex>
#include <set>

#include "base/json_parse.hpp"
#include "result/frame.hpp"

namespace fused {
namespace {
namespace json = boost::json;
namespace compute = arrow::compute;

constexpr const char* kShape = "a condition is a list of [column, op, value], or a list of such lists";

std::string short_text(const json::value& value) { return json::serialize(value).substr(0, 120); }

void initialize_compute() {
  static std::once_flag once;
  std::call_once(once, [] { (void)compute::Initialize(); });
}

// The JSON value as Arrow understands it by itself.
Result<std::shared_ptr<arrow::Scalar>> scalar_of(const json::value& value) {
  switch (value.kind()) {
    case json::kind::bool_: return arrow::MakeScalar(value.get_bool());
    case json::kind::int64: return arrow::MakeScalar(value.get_int64());
    case json::kind::uint64: return arrow::MakeScalar(value.get_uint64());
    case json::kind::double_: return arrow::MakeScalar(value.get_double());
    case json::kind::string: return arrow::MakeScalar(std::string(value.get_string()));
    default:
      return fail(ErrorKind::invalid_argument,
                  "a value of a condition is a number, a text or true/false, not " + short_text(value));
  }
}

bool is_number(arrow::Type::type type) {
  return arrow::is_integer(type) || arrow::is_floating(type) || arrow::is_decimal(type);
}

// The value in a form that compares with the column: numbers with numbers as they are, else as the column's own type.
Result<arrow::Datum> comparable(const json::value& value, const arrow::DataType& type, const std::string& column) {
  const auto scalar = FUSED_TRY(scalar_of(value));
  if (is_number(type.id()) && is_number(scalar->type->id())) return arrow::Datum(scalar);
  const bool same = (type.id() == arrow::Type::BOOL) == value.is_bool();
  auto cast = same && !(is_number(type.id()) && value.is_string())
                  ? compute::Cast(arrow::Datum(scalar), type.GetSharedPtr())
                  : arrow::Result<arrow::Datum>(arrow::Status::TypeError("another kind of value"));
  if (!cast.ok())
    return fail(ErrorKind::unprocessable, "column '" + column + "' holds " + type.ToString() +
                                              " and cannot be compared with " + short_text(value));
  return *cast;
}

Result<std::shared_ptr<arrow::Array>> call(const std::string& function, std::vector<arrow::Datum> arguments,
                                           arrow::MemoryPool* pool) {
  compute::ExecContext context(pool);
  const auto result = FUSED_ARROW_TRY("condition", compute::CallFunction(function, arguments, &context));
  return result.make_array();
}

// Conditions on texts that are views or dictionaries are about the texts.
Result<std::shared_ptr<arrow::Array>> plain(const std::shared_ptr<arrow::ChunkedArray>& column,
                                            arrow::MemoryPool* pool) {
  std::shared_ptr<arrow::Array> array;
  if (column->num_chunks() == 1)
    array = column->chunk(0);
  else if (column->num_chunks() == 0)
    array = FUSED_ARROW_TRY("condition", arrow::MakeEmptyArray(column->type(), pool));
  else
    array = FUSED_ARROW_TRY("condition", arrow::Concatenate(column->chunks(), pool));
  array = FUSED_TRY(result::without_dictionary(array));
  if (array->type_id() == arrow::Type::STRING_VIEW)
    return FUSED_ARROW_TRY("condition", compute::Cast(*array, arrow::large_utf8()));
  return array;
}

}  // namespace

Result<Where::Term> Where::parse_term(const json::value& said) {
  static constexpr std::pair<std::string_view, Operator> kOperators[] = {{"=", Operator::equal},
                                                                         {"==", Operator::equal},
                                                                         {"!=", Operator::not_equal},
                                                                         {"<", Operator::less},
                                                                         {"<=", Operator::less_equal},
                                                                         {">", Operator::greater},
                                                                         {">=", Operator::greater_equal},
                                                                         {"in", Operator::in},
                                                                         {"not in", Operator::not_in},
                                                                         {"is null", Operator::null},
                                                                         {"is not null", Operator::not_null}};
  const auto* parts = said.if_array();
  if (!parts || parts->size() < 2 || parts->size() > 3 || !parts->at(0).is_string() || !parts->at(1).is_string())
    return fail(ErrorKind::invalid_argument, std::string(kShape) + "; this is " + short_text(said));
  const auto* op = std::ranges::find(kOperators, std::string_view(parts->at(1).get_string()),
                                     &std::pair<std::string_view, Operator>::first);
  if (op == std::end(kOperators))
    return fail(ErrorKind::invalid_argument,
                "operators of a condition are = != < <= > >= in, not in, is null, is not null; this is " +
                    short_text(parts->at(1)));
  Term term{.column = parts->at(0).get_string().c_str(), .op = op->second, .value = nullptr};
  const bool takes_value = term.op != Operator::null && term.op != Operator::not_null;
  if (parts->size() == 3) term.value = parts->at(2);
  if (takes_value && term.value.is_null())
    return fail(ErrorKind::invalid_argument,
                short_text(said) + " compares with nothing; use [column, \"is null\"] or \"is not null\"");
  if ((term.op == Operator::in || term.op == Operator::not_in) &&
      (!term.value.is_array() || term.value.get_array().size() > kWhereValuesMax))
    return fail(ErrorKind::invalid_argument, "\"in\" takes a list of at most " + std::to_string(kWhereValuesMax) +
                                                 " values; this is " + short_text(said));
  return term;
}

Result<std::vector<Where::Term>> Where::parse_terms(const json::array& said) {
  std::vector<Term> terms;
  for (const auto& one : said) terms.push_back(FUSED_TRY(parse_term(one)));
  return terms;
}

Result<Where> Where::parse(std::string_view text) {
  Where where;
  if (text.empty()) return where;
  if (text.size() > kWhereBytesMax)
    return fail(ErrorKind::too_large, "a condition may have " + std::to_string(kWhereBytesMax) + " bytes");
  const auto parsed = parse_json(text);
  if (!parsed)
    return fail(ErrorKind::invalid_argument,
                std::string(kShape) + ", as JSON; this is none: " + parsed.error().message);
  const json::value& said = *parsed;
  if (said.is_null()) return where;
  if (!said.is_array()) return fail(ErrorKind::invalid_argument, std::string(kShape) + "; this is " + short_text(said));
  const auto& list = said.get_array();
  if (list.empty()) return where;
  const auto* first = list.front().if_array();
  if (first && !first->empty() && first->front().is_array()) {
    for (const auto& one : list) {
      if (!one.is_array() || one.get_array().empty())
        return fail(ErrorKind::invalid_argument, std::string(kShape) + "; this is " + short_text(one));
      where.alternatives_.push_back(FUSED_TRY(parse_terms(one.get_array())));
    }
  } else {
    where.alternatives_.push_back(FUSED_TRY(parse_terms(list)));
  }
  std::size_t terms = 0;
  for (const auto& all : where.alternatives_) terms += all.size();
  if (terms > kWhereTermsMax)
    return fail(ErrorKind::invalid_argument,
                "a condition may have " + std::to_string(kWhereTermsMax) + " terms, not " + std::to_string(terms));
  return where;
}

std::vector<std::string> Where::columns() const {
  std::set<std::string> names;
  for (const auto& all : alternatives_)
    for (const Term& term : all) names.insert(term.column);
  return {names.begin(), names.end()};
}

Result<std::shared_ptr<arrow::Array>> Where::test(const Term& term, const std::shared_ptr<arrow::Array>& column,
                                                  arrow::MemoryPool* pool) {
  switch (term.op) {
    case Operator::null: return call("is_null", {column}, pool);
    case Operator::not_null: return call("is_valid", {column}, pool);
    case Operator::in:
    case Operator::not_in: {
      std::shared_ptr<arrow::Array> any =
          FUSED_ARROW_TRY("condition", arrow::MakeArrayFromScalar(arrow::BooleanScalar(false), column->length(), pool));
      for (const auto& value : term.value.get_array()) {
        auto wanted = FUSED_TRY(comparable(value, *column->type(), term.column));
        any = FUSED_TRY(call("or_kleene", {any, FUSED_TRY(call("equal", {column, wanted}, pool))}, pool));
      }
      any = FUSED_TRY(call("and_kleene", {any, FUSED_TRY(call("is_valid", {column}, pool))}, pool));  // null is in none
      return term.op == Operator::in ? any : call("invert", {any}, pool);
    }
    default: break;
  }
  static constexpr const char* kFunctions[] = {"equal", "not_equal", "less", "less_equal", "greater", "greater_equal"};
  auto wanted = FUSED_TRY(comparable(term.value, *column->type(), term.column));
  return call(kFunctions[static_cast<int>(term.op)], {column, std::move(wanted)}, pool);
}

Result<std::shared_ptr<arrow::BooleanArray>> Where::holds(const arrow::Table& table, arrow::MemoryPool* pool) const {
  initialize_compute();
  std::shared_ptr<arrow::Array> any;
  for (const auto& terms : alternatives_) {
    std::shared_ptr<arrow::Array> all;
    for (const Term& term : terms) {
      const auto column = table.GetColumnByName(term.column);
      if (!column)
        return fail(ErrorKind::not_found, "there is no column '" + term.column.substr(0, 100) + "' to compare");
      auto one = FUSED_TRY(test(term, FUSED_TRY(plain(column, pool)), pool));
      all = all ? FUSED_TRY(call("and_kleene", {all, one}, pool)) : one;
    }
    any = any ? FUSED_TRY(call("or_kleene", {any, all}, pool)) : all;
  }
  any = FUSED_TRY(call("coalesce", {any, arrow::Datum(std::make_shared<arrow::BooleanScalar>(false))}, pool));
  return std::static_pointer_cast<arrow::BooleanArray>(any);
}

}  // namespace fused
