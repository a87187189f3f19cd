#include "refusal.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/text.h"
#include "quantized/evidence.h"

namespace ctq::plan {

void refuse_quantized(const model::Checkpoint& checkpoint, std::string_view way_out) {
  const quantized::QuantizedFile file = quantized::find_layers(checkpoint);
  const auto found = quantized::evidence(file);
  if (found.empty()) return;
  const auto& [layer, evidence] = *found.begin();
  fail(ErrorCode::kBadInput, "{}: already quantized: '{}' {}{}; {}", checkpoint.path(), printable(layer),
       evidence, found.size() > 1 ? fmt::format(", and {} more", found.size() - 1) : "",
       quantized::way_out_of(file, way_out));
}

}  // namespace ctq::plan
