#include "decoded_input.h"

#include "ctq/base/error.h"
#include "ctq/base/log.h"
#include "ctq/base/text.h"
#include "ctq/verify/client.h"

namespace ctq::cli {

DecodedInput::DecodedInput(const model::Checkpoint& checkpoint)
    : file(quantized::find_layers(checkpoint)), view(file) {
  for (const verify::Finding& finding : verify::check_structure(file, verify::Client::kNone)) {
    if (!finding.refused) continue;
    fail(ErrorCode::kBadInput, "{}: {}{}{}", checkpoint.path(), printable(finding.subject),
         finding.subject.empty() ? "" : ": ", finding.text);
  }
  if (view.decoded() > 0) {
    spdlog::info("note: {} quantized weights are decoded first; the error that they have already stays",
                 view.decoded());
  } else {
    spdlog::info("note: --requantize has no effect: the input is not quantized");
  }
}

}  // namespace ctq::cli
