// Delimited text whose points stand in two columns, read on all cores by Arrow. The types are those that samples from
// all over the file agree on (whole number → real → text); `schema` can say otherwise.
#pragma once
#include "ingest/read/source.hpp"

namespace fused::ingest {

// Header line, types, and pieces that can be read beside each other (Source::groups).
Status describe_csv(Source& source);

}  // namespace fused::ingest
