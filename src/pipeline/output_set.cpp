#include "output_set.h"

#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <system_error>

#include "base/error.h"
#include "safetensors/index.h"

namespace ctq::pipeline {
namespace {

namespace fs = std::filesystem;

/// A name that the older set has while the new one takes its own.
constexpr std::string_view kOlder = ".older";

/// A shard under its own name, and as it is put aside.
struct Names {
  std::string own, aside;
};

/// Of a shard of the output's own name, or of one that an unfinished run had put aside; nothing for others.
std::optional<Names> names_of(const std::string& output, std::string_view shard_file) {
  auto shard = safetensors::parse_shard_name(shard_file);
  const std::string stem = fs::path(output).stem().string(), older = stem + std::string(kOlder);
  if (!shard || (shard->stem != stem && shard->stem != older)) return std::nullopt;
  Names names;
  shard->stem = stem, names.own = shard->of(shard->number);
  shard->stem = older, names.aside = shard->of(shard->number);
  return names;
}

/// The index that is there, where loaders could follow it.
std::optional<safetensors::ShardIndex> older_index(const std::string& index) {
  std::error_code error;
  if (!fs::exists(index, error)) return std::nullopt;
  try {
    return safetensors::read_index(index);
  } catch (const Error&) {
    return std::nullopt;
  }
}

/// Gives the shards of an older set second names, and an index of those in place of theirs: it stays whole
/// while their own names pass to the new set. False where the file system has no second names, or a shard is
/// missing.
bool put_aside(const safetensors::ShardIndex& older, const std::string& output) {
  const fs::path folder = fs::path(output).parent_path();
  std::map<std::string, std::string> aside;  // by the name that it has
  for (const std::string& name : older.shards()) {
    const auto names = names_of(output, name);
    if (!names) continue;
    const std::string& second = names->aside;
    std::error_code error;
    if (second != name) fs::remove(folder / second, error);
    if (second != name) fs::create_hard_link(fs::weakly_canonical(folder / name), folder / second, error);
    if (error || !fs::exists(folder / second, error)) {
      for (const auto& [first, made] : aside) fs::remove(folder / made, error);
      return false;
    }
    aside[name] = second;
  }
  std::map<std::string, std::string> weight_map = older.weight_map;
  for (auto& [tensor, shard] : weight_map)
    if (const auto found = aside.find(shard); found != aside.end()) shard = found->second;
  safetensors::write_text_file(older.path, safetensors::write_index(weight_map, older.total_size));
  return true;
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
  // A crash between two names must leave no set of two generations, and a whole one where that is possible.
  const std::string index = index_name(output_);
  const fs::path folder = fs::path(output_).parent_path();
  const auto older = older_index(index);
  std::set<std::string> leftover;
  for (const std::string& name : older ? older->shards() : std::vector<std::string>())
    if (const auto names = names_of(output_, name)) leftover.insert({names->own, names->aside});
  if (!older || !put_aside(*older, output_)) {
    remove_file(index);
    for (const safetensors::Writer& file : files_) remove_file(file.path());
  }
  for (safetensors::Writer& file : files_) file.commit();
  write_index(index);
  for (const safetensors::Writer& file : files_) leftover.erase(fs::path(file.path()).filename().string());
  for (const std::string& name : leftover) remove_file(folder / name);
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
