#include "ctq/engine/setting.h"

#include "base/error.h"
#include "base/text.h"

namespace ctq::engine {

void refuse(const AnySetting& setting, std::string_view fact, std::string_view value) {
  fail(ErrorCode::kUsage, "argument {}: {} (got '{}')", setting.label(), fact, printable(value));
}

void refuse_to_have(const AnySetting& setting, std::string_view fact) {
  fail(ErrorCode::kUsage, "argument {}: {}", setting.label(), fact);
}

}  // namespace ctq::engine
