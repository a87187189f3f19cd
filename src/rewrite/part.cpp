#include "rewrite/part.h"

#include <map>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "base/cancel.h"
#include "base/error.h"
#include "base/text.h"
#include "model/metadata.h"
#include "safetensors/reader.h"
#include "safetensors/writer.h"

namespace ctq::rewrite {
namespace {

using nlohmann::ordered_json;
using safetensors::Reader;

constexpr const char* kKey = "convert_to_quant_part";

/// The parts in order, and the metadata of the whole.
struct Parts {
  std::map<int64_t, Reader> files;
  PartLabel label;
  safetensors::Metadata metadata;
};

void add_part(Parts& parts, const std::string& path) {
  Reader file(path);
  safetensors::Metadata metadata = file.header().metadata;
  const std::optional<PartLabel> label = take_label(metadata, path);
  if (!label) fail(ErrorCode::kBadInput, "{}: is not a part that --partition wrote", path);
  if (parts.files.empty()) {
    parts.label = *label;
    parts.metadata = model::without_content_hashes(std::move(metadata));
  } else {
    const std::string& first = parts.files.begin()->second.path();
    const PartLabel& other = parts.label;
    if (label->plan != other.plan || label->parts != other.parts || label->tensors != other.tensors ||
        model::without_content_hashes(metadata) != parts.metadata)
      fail(ErrorCode::kBadInput,
           "{}: belongs to another plan than {}: other inputs, options or version (plans {} and {}, of {} "
           "and {} "
           "parts)",
           path, first, label->plan, other.plan, label->parts, other.parts);
    if (const auto same = parts.files.find(label->part); same != parts.files.end())
      fail(ErrorCode::kBadInput, "{}: is part {} of {}, as is {}", path, label->part, label->parts,
           same->second.path());
  }
  parts.files.emplace(label->part, std::move(file));
}

void check_complete(const Parts& parts) {
  std::vector<int64_t> missing;
  for (int64_t part = 1; part <= parts.label.parts; ++part) {
    if (!parts.files.contains(part)) missing.push_back(part);
  }
  if (!missing.empty())
    fail(ErrorCode::kBadInput, "part {} of {} is missing", fmt::join(missing, ", "), parts.label.parts);
  std::map<std::string_view, const Reader*> owners;
  for (const auto& [part, file] : parts.files) {
    for (const safetensors::TensorInfo& tensor : file.header().tensors) {
      const auto [owner, is_new] = owners.emplace(tensor.name, &file);
      if (!is_new)
        fail(ErrorCode::kBadInput, "{}: tensor '{}' is in {} as well", file.path(), printable(tensor.name),
             owner->second->path());
    }
  }
  if (owners.size() != parts.label.tensors)
    fail(ErrorCode::kBadInput, "the parts hold {} tensors, but their plan has {}: a part was changed",
         owners.size(), parts.label.tensors);
}

}  // namespace

void add_label(safetensors::Metadata& metadata, const PartLabel& label) {
  metadata[kKey] = ordered_json{
      {"plan", label.plan},
      {"part", label.part},
      {"parts", label.parts},
      {"tensors",
       label.tensors}}.dump();
}

std::optional<PartLabel> take_label(safetensors::Metadata& metadata, const std::string& path) {
  const auto found = metadata.find(kKey);
  if (found == metadata.end()) return std::nullopt;
  try {
    const ordered_json json = ordered_json::parse(found->second);
    PartLabel label{.plan = json.at("plan"),
                    .part = json.at("part"),
                    .parts = json.at("parts"),
                    .tensors = json.at("tensors")};
    if (label.part < 1 || label.part > label.parts)
      fail(ErrorCode::kBadInput, "{}: says that it is part {} of {}", path, label.part, label.parts);
    metadata.erase(found);
    return label;
  } catch (const ordered_json::exception& error) {
    fail(ErrorCode::kBadInput, "{}: what its metadata says of the part cannot be read: {}", path,
         error.what());
  }
}

Assembled assemble(const std::vector<std::string>& paths, const std::string& output) {
  Parts parts;
  for (const std::string& path : paths) add_part(parts, path);
  check_complete(parts);
  std::vector<safetensors::TensorInfo> tensors;
  for (const auto& [part, file] : parts.files)
    tensors.insert(tensors.end(), file.header().tensors.begin(), file.header().tensors.end());
  safetensors::Writer writer(output, safetensors::lay_out(std::move(tensors)), parts.metadata);
  for (const auto& [part, file] : parts.files) {
    for (const safetensors::TensorInfo& tensor : file.header().tensors) {
      throw_if_cancelled();
      writer.copy(tensor.name, file, tensor);
      file.release(tensor);
    }
  }
  writer.commit();
  return {.parts = parts.files.size(), .tensors = writer.tensors().size()};
}

}  // namespace ctq::rewrite
