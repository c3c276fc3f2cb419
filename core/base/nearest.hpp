// "did you mean": the name of a list that is most like a mistyped one.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace fused {

// Letters to change, add, leave out or swap with their neighbour until `a` is `b`.
std::size_t edit_distance(std::string_view a, std::string_view b);
// "" where none is near: within a third of its letters (at least one).
std::string nearest(std::string_view mistyped, const std::vector<std::string>& names);

}  // namespace fused
