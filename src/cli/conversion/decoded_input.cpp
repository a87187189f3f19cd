#include "decoded_input.h"

#include <algorithm>

#include "ctq/base/error.h"
#include "ctq/base/log.h"
#include "ctq/base/text.h"
#include "ctq/verify/client.h"

namespace ctq::cli {

DecodedInput::DecodedInput(const model::Checkpoint& checkpoint)
    : file(quantized::find_layers(checkpoint)), view(file) {
  for (const verify::Finding& finding : verify::check_structure(file, {client::Program::kAny})) {
    if (!finding.refused || std::ranges::count(file.strays, finding.subject) > 0) continue;
    fail(ErrorCode::kBadInput, "{}: {}{}{}", checkpoint.path(), printable(finding.subject),
         finding.subject.empty() ? "" : ": ", finding.text);
  }
  if (!file.strays.empty())
    warn("{} tensors beside weights that are no codes are left out, such as '{}'", file.strays.size(),
         printable(file.strays.front()));
  if (view.decoded() > 0) {
    spdlog::info("note: {} quantized weights are decoded first; the error that they have already stays",
                 view.decoded());
  } else if (file.strays.empty()) {
    spdlog::info("note: --requantize has no effect: the input is not quantized");
  }
}

}  // namespace ctq::cli
