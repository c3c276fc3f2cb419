// Bytes that one part made and another sends: a string, or a mapping of a worker's memfd. Copies share the owner.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace fused {

struct Bytes {
  std::shared_ptr<const void> owner;
  std::string_view view;

  static Bytes of(std::string text) {
    auto owner = std::make_shared<const std::string>(std::move(text));
    return {owner, std::string_view(*owner)};
  }
};

}  // namespace fused
