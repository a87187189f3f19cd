#include "option_file.h"

#include <fstream>
#include <iterator>

#include "base/error.h"

namespace ctq::cli {

std::string read_option_file(std::string_view option, const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string content{std::istreambuf_iterator<char>(file), {}};
  if (!file.is_open() || file.bad())
    fail(ErrorCode::kBadInput, "argument {}: {}: cannot be read", option, path);
  return content;
}

}  // namespace ctq::cli
