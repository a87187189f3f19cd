// Environment variables that stand for options.
#pragma once

#include <array>
#include <span>
#include <string_view>

namespace ctq::cli {

/// The command line wins over them, they win over --config.
struct EnvironmentVariable {
  const char* name;
  std::string_view option;
};

inline std::span<const EnvironmentVariable> environment_variables() {
  static constexpr std::array kVariables{
      EnvironmentVariable{"CTQ_THREADS", "--threads"},
      EnvironmentVariable{"CTQ_DEVICE", "--device"},
      EnvironmentVariable{"CTQ_MAX_MEMORY", "--max-memory"},
  };
  return kVariables;
}

}  // namespace ctq::cli
