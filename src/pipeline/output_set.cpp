#include "output_set.h"

#include <filesystem>

#include "ctq/safetensors/index.h"

namespace ctq::pipeline {

OutputSet::OutputSet(const plan::Plan& plan, const std::string& output, safetensors::Unfinished unfinished)
    : output_(output), unfinished_(unfinished) {
  const std::filesystem::path folder = std::filesystem::path(output).parent_path();
  for (const plan::OutputFile& file : plan.files) {
    files_.emplace_back((folder / file.name).string(), file.tensors, plan.metadata, unfinished);
    for (const safetensors::TensorInfo& tensor : file.tensors)
      file_of_tensor_[tensor.name] = files_.size() - 1;
  }
  for (const plan::Generated& generated : plan.generated) {
    write(generated.info.name, std::as_bytes(std::span(generated.bytes)));
  }
}

safetensors::Writer& OutputSet::file_of(const std::string& name) { return files_[file_of_tensor_.at(name)]; }

std::string OutputSet::commit() {
  for (safetensors::Writer& file : files_) file.finish();
  for (safetensors::Writer& file : files_) file.commit();
  if (files_.size() == 1) return files_.front().path();
  std::map<std::string, std::string> weight_map;
  uint64_t total = 0;
  for (const safetensors::Writer& file : files_) {
    for (const safetensors::TensorInfo& tensor : file.tensors()) {
      weight_map[tensor.name] = std::filesystem::path(file.path()).filename().string();
      total += tensor.bytes();
    }
  }
  const std::string index = index_name(output_);
  safetensors::write_text_file(index, safetensors::write_index(weight_map, total), unfinished_);
  return index;
}

}  // namespace ctq::pipeline
