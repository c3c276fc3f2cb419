#include "result/geos.hpp"

#include <dlfcn.h>

#include <cmath>
#include <cstring>
#include <limits>

namespace fused::result {
namespace {

// GEOSGeomTypes of geos_c.h.
enum GeosType { kPoint = 0, kLine = 1, kLinearRing = 2, kPolygon = 3, kMultiPoint = 4, kCollection = 7 };
constexpr int kDepthMax = 32;

void append_u32(std::string& out, std::uint32_t value) { out.append(reinterpret_cast<const char*>(&value), 4); }

}  // namespace

struct Geos::Functions {
  void* (*init)();
  void (*finish)(void*);
  int (*type_id)(void*, const void*);
  char (*has_z)(void*, const void*);
  char (*is_empty)(void*, const void*);
  int (*part_count)(void*, const void*);
  const void* (*part)(void*, const void*, int);
  const void* (*outer_ring)(void*, const void*);
  int (*inner_count)(void*, const void*);
  const void* (*inner_ring)(void*, const void*, int);
  const void* (*sequence)(void*, const void*);
  int (*sequence_size)(void*, const void*, unsigned*);
  int (*copy_to_buffer)(void*, const void*, double*, int, int);
  void* (*reader_create)(void*);
  void (*reader_destroy)(void*, void*);
  void* (*read)(void*, void*, const unsigned char*, std::size_t);
  void (*destroy)(void*, void*);
  char (*is_valid)(void*, const void*);
  void* (*make_valid)(void*, const void*);
  void* (*set_precision)(void*, const void*, double, int);
  char (*has_m)(void*, const void*);  // GEOS 3.12; null before
};

Result<std::shared_ptr<Geos>> Geos::open(const std::string& library) {
  std::shared_ptr<Geos> geos(new Geos());
  geos->library_ = dlopen(library.c_str(), RTLD_LAZY | RTLD_LOCAL);
  if (geos->library_ == nullptr) {
    const char* why = dlerror();
    return fail(ErrorKind::invalid_argument, "cannot load GEOS from " + library, why != nullptr ? why : "");
  }
  geos->call_ = std::make_unique<Functions>();
  Functions& call = *geos->call_;
  std::string missing;
  const auto load = [&](auto& function, const char* name, bool needed = true) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(geos->library_, name));
    if (function == nullptr && needed) missing = name;
  };
  load(call.init, "GEOS_init_r");
  load(call.finish, "GEOS_finish_r");
  load(call.type_id, "GEOSGeomTypeId_r");
  load(call.has_z, "GEOSHasZ_r");
  load(call.has_m, "GEOSHasM_r", false);
  load(call.is_empty, "GEOSisEmpty_r");
  load(call.part_count, "GEOSGetNumGeometries_r");
  load(call.part, "GEOSGetGeometryN_r");
  load(call.outer_ring, "GEOSGetExteriorRing_r");
  load(call.inner_count, "GEOSGetNumInteriorRings_r");
  load(call.inner_ring, "GEOSGetInteriorRingN_r");
  load(call.sequence, "GEOSGeom_getCoordSeq_r");
  load(call.sequence_size, "GEOSCoordSeq_getSize_r");
  load(call.copy_to_buffer, "GEOSCoordSeq_copyToBuffer_r");
  load(call.reader_create, "GEOSWKBReader_create_r");
  load(call.reader_destroy, "GEOSWKBReader_destroy_r");
  load(call.read, "GEOSWKBReader_read_r");
  load(call.destroy, "GEOSGeom_destroy_r");
  load(call.is_valid, "GEOSisValid_r");
  load(call.make_valid, "GEOSMakeValid_r");
  load(call.set_precision, "GEOSGeom_setPrecision_r");
  if (!missing.empty()) return fail(ErrorKind::invalid_argument, library + " offers no " + missing);
  geos->context_ = call.init();
  if (geos->context_ == nullptr) return fail(ErrorKind::internal, "GEOS_init_r failed");
  return geos;
}

Geos::~Geos() {
  if (context_ != nullptr) call_->finish(context_);
  // The library stays loaded: shapely uses it.
}

void Geos::append_positions(const void* sequence, bool has_z, bool has_m, bool counted, std::string& out) const {
  unsigned size = 0;
  call_->sequence_size(context_, sequence, &size);
  if (counted) append_u32(out, size);
  const std::size_t doubles = std::size_t{size} * (2 + has_z + has_m);
  const std::size_t at = out.size();
  out.resize(at + doubles * 8);
  if (doubles == 0) return;
  double small[64];
  if (doubles <= 64) {  // the text is not aligned for doubles, so GEOS writes elsewhere first
    call_->copy_to_buffer(context_, sequence, small, has_z, has_m);
    std::memcpy(out.data() + at, small, doubles * 8);
  } else {
    std::vector<double> large(doubles);
    call_->copy_to_buffer(context_, sequence, large.data(), has_z, has_m);
    std::memcpy(out.data() + at, large.data(), doubles * 8);
  }
}

bool Geos::append(const void* geometry, std::string& out, int depth) const {
  if (depth > kDepthMax) return false;
  const int id = call_->type_id(context_, geometry);
  if (id < 0 || id > kCollection) return false;
  // Empty geometries have no dimension of their own in some GEOS versions; two dimensions are always right for them.
  const bool empty = call_->is_empty(context_, geometry) == 1;
  const bool has_z = !empty && call_->has_z(context_, geometry) == 1;
  const bool has_m = !empty && call_->has_m != nullptr && call_->has_m(context_, geometry) == 1;
  const std::uint32_t code = id == kPoint ? 1 : id <= kLinearRing ? 2 : static_cast<std::uint32_t>(id);
  out += '\1';
  append_u32(out, code + (has_z ? 1000 : 0) + (has_m ? 2000 : 0));
  switch (id) {
    case kPoint:
      if (empty) {
        const double nan = std::numeric_limits<double>::quiet_NaN();
        for (int i = 0; i < 2; ++i) out.append(reinterpret_cast<const char*>(&nan), 8);
        return true;
      }
      append_positions(call_->sequence(context_, geometry), has_z, has_m, false, out);
      return true;
    case kLine:
    case kLinearRing: append_positions(call_->sequence(context_, geometry), has_z, has_m, true, out); return true;
    case kPolygon: {
      const int inner = empty ? -1 : call_->inner_count(context_, geometry);
      append_u32(out, static_cast<std::uint32_t>(inner + 1));
      if (empty) return true;
      append_positions(call_->sequence(context_, call_->outer_ring(context_, geometry)), has_z, has_m, true, out);
      for (int i = 0; i < inner; ++i)
        append_positions(call_->sequence(context_, call_->inner_ring(context_, geometry, i)), has_z, has_m, true, out);
      return true;
    }
    default: break;
  }
  const int parts = call_->part_count(context_, geometry);
  append_u32(out, static_cast<std::uint32_t>(parts));
  for (int i = 0; i < parts; ++i)
    if (!append(call_->part(context_, geometry, i), out, depth + 1)) return false;
  return true;
}

bool Geos::append_wkb(const void* geometry, std::string& out) const { return append(geometry, out, 0); }

namespace {

// Owns a GEOSGeometry* until the end of the scope.
struct Owned {
  void* context;
  void (*destroy)(void*, void*);
  void* geometry = nullptr;
  ~Owned() {
    if (geometry != nullptr) destroy(context, geometry);
  }
};

}  // namespace

bool Geos::is_valid(std::string_view wkb) const {
  void* reader = call_->reader_create(context_);
  Owned geometry{context_, call_->destroy,
                 call_->read(context_, reader, reinterpret_cast<const unsigned char*>(wkb.data()), wkb.size())};
  call_->reader_destroy(context_, reader);
  return geometry.geometry != nullptr && call_->is_valid(context_, geometry.geometry) == 1;
}

Result<std::string> Geos::snap_valid(std::string_view wkb) const {
  void* reader = call_->reader_create(context_);
  Owned input{context_, call_->destroy,
              call_->read(context_, reader, reinterpret_cast<const unsigned char*>(wkb.data()), wkb.size())};
  call_->reader_destroy(context_, reader);
  if (input.geometry == nullptr) return fail(ErrorKind::unprocessable, "GEOS cannot read a clipped polygon");
  Owned valid{context_, call_->destroy, call_->make_valid(context_, input.geometry)};
  if (valid.geometry == nullptr) return fail(ErrorKind::unprocessable, "GEOS cannot make a clipped polygon valid");
  Owned snapped{context_, call_->destroy, call_->set_precision(context_, valid.geometry, 1.0, 0)};
  if (snapped.geometry == nullptr) return fail(ErrorKind::unprocessable, "GEOS cannot snap a clipped polygon");
  std::string out;
  if (call_->is_empty(context_, snapped.geometry) == 1) return out;
  if (!append_wkb(snapped.geometry, out)) return fail(ErrorKind::unprocessable, "GEOS gave an unknown geometry type");
  return out;
}

}  // namespace fused::result
