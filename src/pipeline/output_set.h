// The output of a run: one file, or shards with their index, all or nothing.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "plan/plan.h"
#include "safetensors/writer.h"

namespace ctq::pipeline {

/// "model.safetensors.index.json".
inline std::string index_name(const std::string& output) { return output + ".index.json"; }

/// Temporary files until commit(). Tensors may be written from one other thread.
class OutputSet {
 public:
  /// Creates the files in `output`'s folder, or opens kept ones, and writes what is known already: headers
  /// and markers.
  OutputSet(const plan::Plan& plan, const std::string& output,
            safetensors::Unfinished unfinished = safetensors::Unfinished::kRemoved);

  void write(const std::string& name, std::span<const std::byte> bytes) { file_of(name).write(name, bytes); }
  void copy(const model::Checkpoint::Entry& source) {
    file_of(source.name()).copy(source.name(), *source.file, *source.info);
  }
  /// See safetensors::Writer.
  bool adopt(const std::string& name, uint64_t checksum) { return file_of(name).adopt(name, checksum); }
  void sync_data() {
    for (safetensors::Writer& file : files_) file.sync_data();
  }
  /// Renames all files into place and returns the path a user opens. Of shards the index comes last; those
  /// that an older index listed go.
  std::string commit();

 private:
  safetensors::Writer& file_of(const std::string& name);
  void write_index(const std::string& index) const;

  std::string output_;
  safetensors::Unfinished unfinished_;
  std::vector<safetensors::Writer> files_;
  std::map<std::string, size_t, std::less<>> file_of_tensor_;
};

}  // namespace ctq::pipeline
