#include "model/checkpoint.h"

#include <algorithm>
#include <filesystem>
#include <numeric>
#include <utility>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <xxhash.h>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "safetensors/index.h"

namespace ctq::model {
namespace {

using safetensors::Dtype;

struct TypePair {
  Dtype container;
  at::ScalarType torch;
};

constexpr TypePair kTypes[] = {
    {Dtype::kU64, at::kUInt64},
    {Dtype::kI64, at::kLong},
    {Dtype::kF64, at::kDouble},
    {Dtype::kC64, at::kComplexFloat},
    {Dtype::kF32, at::kFloat},
    {Dtype::kU32, at::kUInt32},
    {Dtype::kI32, at::kInt},
    {Dtype::kBF16, at::kBFloat16},
    {Dtype::kF16, at::kHalf},
    {Dtype::kU16, at::kUInt16},
    {Dtype::kI16, at::kShort},
    {Dtype::kF8E4M3, at::kFloat8_e4m3fn},
    {Dtype::kF8E5M2, at::kFloat8_e5m2},
    {Dtype::kF8E4M3FNUZ, at::kFloat8_e4m3fnuz},
    {Dtype::kI8, at::kChar},
    {Dtype::kF8E5M2FNUZ, at::kFloat8_e5m2fnuz},
    {Dtype::kU8, at::kByte},
    {Dtype::kBool, at::kBool},
};

bool aligned_to(const std::byte* data, size_t bytes) {
  return reinterpret_cast<uintptr_t>(data) % bytes == 0;
}

/// Compares what the index says with what the shards hold.
void check_index(const safetensors::ShardIndex& index, const Checkpoint& checkpoint) {
  uint64_t total = 0;
  size_t unlisted = 0;
  std::string example;
  for (const Checkpoint::Entry& entry : checkpoint.entries()) {
    total += entry.info->bytes();
    const auto listed = index.weight_map.find(entry.name());
    if (listed == index.weight_map.end()) {
      if (unlisted++ == 0) example = entry.name();
    } else if (std::filesystem::path(entry.file->path()).filename() !=
               std::filesystem::path(listed->second).filename()) {
      fail(ErrorCode::kBadInput,
           "{}: tensor '{}' is listed in '{}' but lies in '{}'; the index does not belong to these files",
           index.path, printable(entry.name()), printable(listed->second), entry.file->path());
    }
  }
  for (const auto& [name, shard] : index.weight_map) {
    if (!checkpoint.find(name)) {
      fail(ErrorCode::kBadInput,
           "{}: tensor '{}' is listed in '{}', which does not hold it; is the download complete?", index.path,
           printable(name), printable(shard));
    }
  }
  if (unlisted > 0) {
    warn("{}: {} tensors of the shards are not listed in the index, for example '{}'; they are converted too",
         index.path, unlisted, printable(example));
  }
  if (index.total_size != 0 && index.total_size != total) {
    warn("{}: total_size is {}, the tensors have {} bytes", index.path, index.total_size, total);
  }
}

/// The stored elements as `type`, of the same width: a view of the mapped file where it can be one, else a
/// copy that the tensor owns.
at::Tensor load_as(const Checkpoint::Entry& entry, at::ScalarType type) {
  const safetensors::TensorBytes bytes = entry.file->bytes(*entry.info);
  const auto options = at::TensorOptions(type);
  // from_blob wants a pointer to non-const; the pages are mapped read-only and no caller writes to a loaded
  // tensor.
  auto* data = const_cast<std::byte*>(bytes.data());
  if (bytes.empty()) return at::empty(entry.info->shape, options);
  if (bytes.owned)
    return at::from_blob(
        data, entry.info->shape, [copy = bytes.owned](void*) {}, options);
  if (aligned_to(data, c10::elementSize(type))) return at::from_blob(data, entry.info->shape, options);
  at::Tensor copy = at::empty(entry.info->shape, options);
  std::copy(bytes.begin(), bytes.end(), static_cast<std::byte*>(copy.data_ptr()));
  return copy;
}

}  // namespace

std::string_view Checkpoint::Entry::layer() const {
  const std::string_view full = info->name;
  constexpr std::string_view kSuffix = ".weight";
  return full.ends_with(kSuffix) ? full.substr(0, full.size() - kSuffix.size()) : std::string_view();
}

Checkpoint Checkpoint::open(const std::string& path) { return open(path, safetensors::Shard::kIsItsSet); }

Checkpoint Checkpoint::open(const std::string& path, safetensors::Shard shard) {
  const safetensors::CheckpointFiles files = safetensors::resolve_checkpoint(path, shard);
  if (!files.note.empty()) spdlog::info("note: {}", files.note);
  Checkpoint checkpoint;
  checkpoint.path_ = path;
  for (const std::string& file : files.files) checkpoint.readers_.emplace_back(file);
  for (const safetensors::Reader& reader : checkpoint.readers_) {
    checkpoint.bytes_ += reader.file_bytes();
    checkpoint.metadata_.insert(reader.header().metadata.begin(), reader.header().metadata.end());
    for (const safetensors::TensorInfo& info : reader.header().tensors)
      checkpoint.entries_.push_back({&reader, &info});
  }
  auto& entries = checkpoint.entries_;
  std::ranges::sort(entries, {}, [](const Entry& entry) -> const std::string& { return entry.name(); });
  const auto twice = std::ranges::adjacent_find(
      entries, {}, [](const Entry& entry) -> const std::string& { return entry.name(); });
  if (twice != entries.end()) {
    fail(ErrorCode::kBadInput, "{}: tensor '{}' lies in two shards, '{}' and '{}'; remove the stale one",
         path, printable(twice->name()), twice->file->path(), std::next(twice)->file->path());
  }
  if (!files.index.empty()) check_index(safetensors::read_index(files.index), checkpoint);
  return checkpoint;
}

Checkpoint Checkpoint::view(std::vector<Entry> entries, safetensors::Metadata metadata) const {
  Checkpoint view;
  view.path_ = path_;
  view.bytes_ = bytes_;
  view.entries_ = std::move(entries);
  view.metadata_ = std::move(metadata);
  std::ranges::sort(view.entries_, {}, [](const Entry& entry) -> const std::string& { return entry.name(); });
  return view;
}

const Checkpoint::Entry* Checkpoint::find(std::string_view name) const {
  const auto at = std::ranges::lower_bound(
      entries_, name, {}, [](const Entry& entry) -> std::string_view { return entry.name(); });
  return at != entries_.end() && at->name() == name ? &*at : nullptr;
}

std::vector<std::string> Checkpoint::names() const {
  std::vector<std::string> names;
  names.reserve(entries_.size());
  for (const Entry& entry : entries_) names.push_back(entry.name());
  return names;
}

std::vector<std::string> Checkpoint::files() const {
  std::vector<std::string> paths;
  for (const safetensors::Reader& reader : readers_) paths.push_back(reader.path());
  if (!readers_.empty()) return paths;
  for (const Entry& entry : entries_) {  // a view
    if (std::ranges::count(paths, entry.file->path()) == 0) paths.push_back(entry.file->path());
  }
  return paths;
}

std::string fingerprint(const Checkpoint& checkpoint) {
  std::string text;
  for (const Checkpoint::Entry& entry : checkpoint.entries()) {
    text += entry.name();
    text += '\0';
    text += safetensors::dtype_name(entry.info->dtype);
    text += shape_text(entry.info->shape);
    text += '\0';
  }
  return fmt::format("{:016x}", XXH3_64bits(text.data(), text.size()));
}

at::ScalarType scalar_type(const safetensors::TensorInfo& info) {
  const auto* pair = std::ranges::find(kTypes, info.dtype, &TypePair::container);
  if (pair == std::end(kTypes)) {
    fail(ErrorCode::kBadInput, "tensor '{}' has element type {}, which can be copied but not computed with",
         printable(info.name), safetensors::dtype_name(info.dtype));
  }
  return pair->torch;
}

safetensors::Dtype container_dtype(at::ScalarType type) {
  const auto* pair = std::ranges::find(kTypes, type, &TypePair::torch);
  TORCH_INTERNAL_ASSERT(pair != std::end(kTypes), "no container type for ", c10::toString(type));
  return pair->container;
}

at::Tensor load(const Checkpoint::Entry& entry) {
  return entry.computed ? entry.computed->load() : load_as(entry, scalar_type(*entry.info));
}

at::Tensor load_bytes(const Checkpoint::Entry& entry) {
  if (safetensors::dtype_bits(entry.info->dtype) != 8)
    fail(ErrorCode::kBadInput, "'{}' is {}, not bytes", printable(entry.name()),
         safetensors::dtype_name(entry.info->dtype));
  return load_as(entry, at::kByte);
}

}  // namespace ctq::model
