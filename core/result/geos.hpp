// The GEOS that shapely has loaded, reached through its C interface at run time: geometries are read where they lie,
// and no second GEOS enters the process. Opaque pointers only; the functions are those of geos_c.h.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.hpp"

namespace fused::result {

class Geos {
 public:
  // `library`: path of a shared object that links GEOS (shapely's extension module) or of GEOS itself. It must be
  // loadable; invalid_argument when it, or what it links, lacks a function that is needed here.
  static Result<std::shared_ptr<Geos>> open(const std::string& library);
  ~Geos();
  Geos(const Geos&) = delete;
  Geos& operator=(const Geos&) = delete;

  // Appends ISO WKB (little endian) of a GEOSGeometry*. False for a type that WKB scanning does not know (curves).
  bool append_wkb(const void* geometry, std::string& out) const;

  // A polygonal geometry that is valid and whose coordinates are integers, as close to the given one as that allows;
  // empty WKB when nothing is left. Input and output are WKB.
  Result<std::string> snap_valid(std::string_view wkb) const;
  bool is_valid(std::string_view wkb) const;

 private:
  struct Functions;
  Geos() = default;
  bool append(const void* geometry, std::string& out, int depth) const;
  void append_positions(const void* sequence, bool has_z, bool has_m, bool counted, std::string& out) const;

  void* library_ = nullptr;
  void* context_ = nullptr;
  std::unique_ptr<Functions> call_;
};

}  // namespace fused::result
