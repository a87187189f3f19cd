#include "rewrite/output.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <tuple>
#include <utility>

#include <ATen/ATen.h>

#include "base/cancel.h"
#include "base/log.h"
#include "model/metadata.h"
#include "safetensors/writer.h"

namespace ctq::rewrite {
namespace {

using Entry = model::Checkpoint::Entry;

safetensors::TensorInfo info_of(std::string name, safetensors::Dtype dtype, std::vector<int64_t> shape) {
  safetensors::TensorInfo info;
  info.name = std::move(name), info.dtype = dtype, info.shape = std::move(shape);
  return info;
}

}  // namespace

safetensors::Metadata copied_metadata(const model::Checkpoint& checkpoint) {
  if (const std::string words = model::left_out_words(checkpoint.metadata()); !words.empty())
    spdlog::info("note: {}", words);
  return model::without_content_hashes(checkpoint.metadata());
}

void Output::copy(const Entry& source, std::string name) {
  copy_as(source, name.empty() ? source.name() : std::move(name), source.info->shape);
}

void Output::copy_as(const Entry& source, std::string name, std::vector<int64_t> shape) {
  parts_.push_back({.info = info_of(std::move(name), source.info->dtype, std::move(shape)),
                    .source = &source,
                    .bytes = "",
                    .value = nullptr});
}

void Output::put(std::string name, safetensors::Dtype dtype, std::vector<int64_t> shape, std::string bytes) {
  parts_.push_back({.info = info_of(std::move(name), dtype, std::move(shape)),
                    .source = nullptr,
                    .bytes = std::move(bytes),
                    .value = nullptr});
}

void Output::put_scalar(std::string name, float value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  put(std::move(name), safetensors::Dtype::kF32, {}, std::move(bytes));
}

void Output::put_text(std::string name, std::string text) {
  const auto size = static_cast<int64_t>(text.size());
  put(std::move(name), safetensors::Dtype::kU8, {size}, std::move(text));
}

void Output::make(std::string name, safetensors::Dtype dtype, std::vector<int64_t> shape, const Entry& source,
                  std::function<at::Tensor()> value) {
  parts_.push_back({.info = info_of(std::move(name), dtype, std::move(shape)),
                    .source = &source,
                    .bytes = "",
                    .value = std::move(value)});
}

void Output::write(const std::string& path, const safetensors::Metadata& metadata) const {
  std::vector<safetensors::TensorInfo> infos;
  std::vector<const Part*> order;
  for (const Part& part : parts_) infos.push_back(part.info), order.push_back(&part);
  std::ranges::stable_sort(order, {}, [](const Part* part) {
    return part->source
               ? std::tuple<std::string_view, uint64_t>(part->source->file->path(), part->source->info->begin)
               : std::tuple<std::string_view, uint64_t>("", 0);
  });
  safetensors::Writer writer(path, safetensors::lay_out(std::move(infos)), metadata);
  for (const Part* part : order) {
    throw_if_cancelled();
    const std::string& name = part->info.name;
    if (part->value) {
      const at::Tensor value = part->value().contiguous();
      writer.write(name, {static_cast<const std::byte*>(value.const_data_ptr()), value.nbytes()});
      part->source->file->release(*part->source->info);
    } else if (part->source) {
      writer.copy(name, *part->source->file, *part->source->info);
    } else {
      writer.write(name, std::as_bytes(std::span(part->bytes)));
    }
  }
  writer.commit();
}

}  // namespace ctq::rewrite
