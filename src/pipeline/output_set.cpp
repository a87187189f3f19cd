#include "output_set.h"

#include <filesystem>
#include <set>
#include <system_error>

#include "base/error.h"
#include "safetensors/index.h"

namespace ctq::pipeline {
namespace {

namespace fs = std::filesystem;

/// Shards of the output's own name that an earlier index of it lists.
std::set<std::string> shards_of_older(const std::string& output, const std::string& index) {
  std::error_code error;
  if (!fs::exists(index, error)) return {};
  std::set<std::string> shards;
  const fs::path stem = fs::path(output).stem();
  try {
    for (const std::string& name : safetensors::read_index(index).shards()) {
      const auto shard = safetensors::parse_shard_name(name);
      if (shard && shard->stem == stem) shards.insert(name);
    }
  } catch (const Error&) {
    // Not an index that a loader could follow either.
  }
  return shards;
}

/// What a link points to.
void remove_file(const fs::path& path) {
  std::error_code error;
  fs::remove(fs::weakly_canonical(path, error), error);
}

}  // namespace

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
  if (files_.size() == 1) {
    files_.front().commit();
    return files_.front().path();
  }
  // A crash between two names must leave no set of two generations: first the older index goes, then its
  // shards, and the new index, which names whole files alone, comes last.
  const std::string index = index_name(output_);
  const fs::path folder = fs::path(output_).parent_path();
  std::set<std::string> older = shards_of_older(output_, index);
  for (const safetensors::Writer& file : files_) older.erase(fs::path(file.path()).filename().string());
  remove_file(index);
  for (const safetensors::Writer& file : files_) remove_file(file.path());
  for (safetensors::Writer& file : files_) file.commit();
  write_index(index);
  for (const std::string& name : older) remove_file(folder / name);
  return index;
}

void OutputSet::write_index(const std::string& index) const {
  std::map<std::string, std::string> weight_map;
  uint64_t total = 0;
  for (const safetensors::Writer& file : files_) {
    for (const safetensors::TensorInfo& tensor : file.tensors()) {
      weight_map[tensor.name] = std::filesystem::path(file.path()).filename().string();
      total += tensor.bytes();
    }
  }
  safetensors::write_text_file(index, safetensors::write_index(weight_map, total), unfinished_);
}

}  // namespace ctq::pipeline
