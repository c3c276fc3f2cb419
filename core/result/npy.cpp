#include "result/npy.hpp"

#include <cstdint>

#include "result/text.hpp"

namespace fused::result {

std::string npy_header(std::string_view descr, bool fortran_order, const std::vector<std::int64_t>& shape) {
  std::string text = "{'descr': ";
  text += descr;
  text += fortran_order ? ", 'fortran_order': True, 'shape': (" : ", 'fortran_order': False, 'shape': (";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    append_integer(text, shape[i]);
    if (i + 1 < shape.size()) text += ", ";
  }
  text += shape.size() == 1 ? ",), }" : "), }";
  const bool large = text.size() + 64 > 65'535;
  const std::size_t front = large ? 12 : 10;
  text.append(63 - (front + text.size()) % 64, ' ');  // data begins at a multiple of 64
  text += '\n';
  std::string out("\x93NUMPY", 6);
  out += large ? '\2' : '\1';
  out += '\0';
  for (std::size_t i = 0; i < front - 8; ++i) out += static_cast<char>(text.size() >> (8 * i));
  return out + text;
}

}  // namespace fused::result
