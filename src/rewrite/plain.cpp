#include "rewrite/plain.h"

#include "model/stored_type.h"
#include "rewrite/output.h"

namespace ctq::rewrite {

Written write_plain(const model::Checkpoint& checkpoint, const std::string& path) {
  Written written;
  Output output;
  for (const model::Checkpoint::Entry& entry : checkpoint.entries()) {
    if (!entry.computed) {
      output.copy(entry);
      ++written.copied;
      continue;
    }
    output.make(entry.name(), entry.info->dtype, entry.info->shape, entry,
                [&entry] { return model::in_stored_type(entry, model::load(entry)); });
    ++written.computed;
  }
  output.write(path, copied_metadata(checkpoint));
  return written;
}

}  // namespace ctq::rewrite
