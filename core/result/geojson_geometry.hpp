// One WKB geometry as a GeoJSON geometry object (RFC 7946).
#pragma once
#include <string>
#include <string_view>

namespace fused::result {

// Seven decimals (about a centimetre), a third coordinate where there is Z, M dropped. Rings keep to the right-hand
// rule (outer anticlockwise). Empty points and geometries with a coordinate that is not finite become "null"; so does
// WKB that cannot be read (geometry columns are checked when they are made). Returns false where it wrote "null".
bool append_geojson_geometry(std::string& out, std::string_view wkb);

// Well-known text, shortest numbers; "" for what cannot be read.
void append_wkt(std::string& out, std::string_view wkb);

}  // namespace fused::result
