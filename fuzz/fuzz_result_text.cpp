// Any bytes as a JSON string are valid JSON, and UTF-8 comes back unchanged.
#include <bit>
#include <boost/json/src.hpp>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "result/text.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  std::string out;
  fused::result::append_json_string(out, text);
  boost::system::error_code error;
  const auto value = boost::json::parse(out, error);
  if (error || !value.is_string()) std::abort();
  if (std::string_view(value.get_string()) != fused::result::text_of_json_string(out)) std::abort();
  std::string again;
  fused::result::append_json_string(again, std::string_view(value.get_string()));
  if (again != out) std::abort();

  if (size < 8) return 0;
  double number;
  std::memcpy(&number, data, 8);
  std::string digits;
  fused::result::append_json_number(digits, number);
  if (std::isfinite(number) ? std::strtod(digits.c_str(), nullptr) != number : digits != "null") std::abort();
  std::int64_t ticks;
  std::memcpy(&ticks, data, 8);
  for (int places : {0, 3, 6, 9}) {
    std::string date;
    fused::result::append_timestamp(date, ticks, places);
    if (date.size() < 19) std::abort();
  }
  return 0;
}
