// Sets of defaults under one name: those of older programs (--profile), and whole recipes (--recipe).
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "arguments.h"

namespace ctq::cli {

/// A default that differs from the option table's.
struct ProfileDefault {
  std::string_view option;  ///< key
  std::string_view value;
};

/// profile: "seed", "peer", or empty for our own defaults, of which there are none here.
std::span<const ProfileDefault> profile_defaults(std::string_view profile);

/// What of --profile is left to matter: its options, in words, that nothing else chooses and that differ from
/// the usual defaults. Those of learned rounding count where something learns, types where none is asked for.
std::vector<std::string> effective_defaults(const Arguments& arguments, bool learns);

/// What a recipe chooses: target, layout and metadata. Empty for an unknown or empty name.
std::span<const ProfileDefault> recipe_choices(std::string_view recipe);

}  // namespace ctq::cli
