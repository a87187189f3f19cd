#include "families/family.h"

#include <algorithm>

namespace ctq::families {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

std::string_view kind_name(Kind kind) {
  switch (kind) {
    case Kind::kDiffusion: return "diffusion model";
    case Kind::kTextEncoder: return "text encoder";
    case Kind::kVision: return "image encoder";
    case Kind::kVae: return "VAE";
    case Kind::kControl: return "control model";
    case Kind::kAverage: return "average of the weights";
    case Kind::kOther: return "other tensors";
  }
  return "";
}

bool fits(std::string_view pattern, std::string_view name) {
  while (!pattern.empty()) {
    if (pattern == "*") return true;
    if (name.empty()) return false;
    if (pattern.front() == '#') {
      if (!is_digit(name.front())) return false;
      while (!name.empty() && is_digit(name.front())) name.remove_prefix(1);
    } else {
      if (pattern.front() != name.front()) return false;
      name.remove_prefix(1);
    }
    pattern.remove_prefix(1);
  }
  return name.empty();
}

std::string_view fitting(std::span<const std::string_view> patterns, std::string_view name) {
  const auto found =
      std::ranges::find_if(patterns, [&](std::string_view pattern) { return fits(pattern, name); });
  return found == patterns.end() ? std::string_view() : *found;
}

}  // namespace ctq::families
