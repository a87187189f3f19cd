#include "shards.h"

#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "safetensors/writer.h"

namespace ctq::plan {
namespace {

using safetensors::TensorInfo;

uint64_t bytes_of(const std::vector<TensorInfo>& tensors) {
  uint64_t bytes = 0;
  for (const TensorInfo& tensor : tensors)
    bytes += safetensors::tensor_bytes(tensor.dtype, tensor.shape).value_or(0);
  return bytes;
}

/// What must lie in one file: the tensors written for one source tensor with the marker of its layer.
std::vector<std::vector<TensorInfo>> groups_of(const Plan& plan) {
  std::map<std::string, const TensorInfo*, std::less<>> markers;
  for (const Generated& generated : plan.generated) markers[generated.info.name] = &generated.info;
  std::vector<std::vector<TensorInfo>> groups;
  for (const TensorPlan& tensor : plan.tensors) {
    if (tensor.outputs.empty()) continue;
    std::vector<TensorInfo> group = tensor.outputs;
    if (tensor.decision == Decision::kQuantize) {
      const auto marker = markers.find(format::side_name(tensor.source->layer(), "comfy_quant", plan.layout));
      if (marker != markers.end()) {
        group.push_back(*marker->second);
        markers.erase(marker);
      }
    }
    groups.push_back(std::move(group));
  }
  std::vector<TensorInfo> rest;
  for (const auto& [name, info] : markers) rest.push_back(*info);
  if (!rest.empty()) groups.push_back(std::move(rest));
  return groups;
}

/// Groups in order, as many into each shard as its bound allows.
std::vector<std::vector<TensorInfo>> fill_shards(std::vector<std::vector<TensorInfo>> groups,
                                                 uint64_t max_shard_bytes) {
  std::vector<std::vector<TensorInfo>> shards(1);
  uint64_t filled = 0;
  for (std::vector<TensorInfo>& group : groups) {
    const uint64_t bytes = bytes_of(group);
    if (max_shard_bytes != 0 && bytes > max_shard_bytes) {
      fail(ErrorCode::kUsage,
           "argument --max-shard-size: the largest layer, '{}', needs {} ({} bytes) in one file (got '{}')",
           printable(group.front().name), human_bytes(bytes), bytes, max_shard_bytes);
    }
    if (max_shard_bytes != 0 && filled + bytes > max_shard_bytes && !shards.back().empty()) {
      shards.emplace_back();
      filled = 0;
    }
    filled += bytes;
    std::ranges::move(group, std::back_inserter(shards.back()));
  }
  return shards;
}

std::string stem_of(const std::string& output_name) {
  constexpr std::string_view kSuffix = ".safetensors";
  return output_name.ends_with(kSuffix) ? output_name.substr(0, output_name.size() - kSuffix.size())
                                        : output_name;
}

}  // namespace

std::vector<OutputFile> lay_out_files(const Plan& plan, const std::string& output_name,
                                      uint64_t max_shard_bytes) {
  std::vector<std::vector<TensorInfo>> shards = fill_shards(groups_of(plan), max_shard_bytes);
  std::vector<OutputFile> files;
  for (size_t i = 0; i < shards.size(); ++i) {
    OutputFile file;
    file.name = shards.size() == 1 ? output_name
                                   : fmt::format("{}-{:05}-of-{:05}.safetensors", stem_of(output_name), i + 1,
                                                 shards.size());
    file.tensors = safetensors::lay_out(std::move(shards[i]));
    file.bytes = safetensors::write_header(file.tensors, plan.metadata).size() + bytes_of(file.tensors);
    files.push_back(std::move(file));
  }
  return files;
}

}  // namespace ctq::plan
