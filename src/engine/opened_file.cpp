#include "engine/opened_file.h"

namespace ctq::engine {

OpenedFile::OpenedFile(const std::string& path, const model::Checkpoint& converted)
    : checkpoint(model::Checkpoint::open(path)) {
  if (const auto foreign = names::find_foreign(checkpoint); foreign && !names::find_foreign(converted))
    renamed.emplace(checkpoint, *foreign);
  quantized = quantized::find_layers(renamed ? renamed->checkpoint() : checkpoint);
}

}  // namespace ctq::engine
