// The defaults of older programs, which --profile starts from.
#pragma once

#include <span>
#include <string_view>

namespace ctq::cli {

/// A default that differs from the option table's.
struct ProfileDefault {
  std::string_view option;  ///< key
  std::string_view value;
};

/// profile: "seed", "peer", or empty for our own defaults, of which there are none here.
std::span<const ProfileDefault> profile_defaults(std::string_view profile);

}  // namespace ctq::cli
