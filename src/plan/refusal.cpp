#include "refusal.h"

#include <fmt/format.h>

#include "ctq/base/error.h"
#include "ctq/base/text.h"
#include "ctq/model/quantized.h"

namespace ctq::plan {

void refuse_quantized(const model::Checkpoint& checkpoint, std::string_view way_out) {
  const auto quantized = model::find_quantized(checkpoint);
  if (quantized.empty()) return;
  const auto& [layer, evidence] = *quantized.begin();
  fail(ErrorCode::kBadInput, "{}: already quantized: '{}' {}{}; {}", checkpoint.path(), printable(layer),
       evidence, quantized.size() > 1 ? fmt::format(", and {} more", quantized.size() - 1) : "", way_out);
}

}  // namespace ctq::plan
