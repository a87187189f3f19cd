#include "calibrate/calibration_file.h"

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <sstream>
#include <system_error>
#include <tuple>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "calibrate/layer_names.h"
#include "calibrate/statistics.h"

namespace ctq::calibrate {
namespace {

using CheckpointEntry = model::Checkpoint::Entry;
using nlohmann::json;

constexpr std::string_view kFormat = "ctq-calibration";
constexpr std::string_view kVersion = "1";
constexpr std::string_view kRandomSource = "random rows";  // how `source` began before there were `origins`

template <typename... Args>
[[noreturn]] void refuse(const std::string& path, fmt::format_string<Args...> message, Args&&... args) {
  fail(ErrorCode::kBadInput, "{}: {}", path, fmt::format(message, std::forward<Args>(args)...));
}

std::string read_file(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (file.is_open()) text << file.rdbuf();
  if (!file.is_open() || file.bad() || text.fail())
    refuse(path, "cannot be read: {}", std::generic_category().message(errno ? errno : EIO));
  return text.str();
}

/// Whether the part has a number for every row.
bool is_of_rows(const CalibrationFile::Part& part) {
  return std::ranges::find(kRowParts, part.second, &RowPart::stored) != kRowParts.end();
}

/// The part that a tensor of that name is; null when it is none.
const CalibrationFile::Part* find_part(std::string_view name) {
  const auto* const part = std::ranges::find_if(
      CalibrationFile::kParts,
      [&](const CalibrationFile::Part& candidate) { return name.ends_with(candidate.first); });
  return part == CalibrationFile::kParts.end() ? nullptr : part;
}

bool is_integer(safetensors::Dtype dtype) {
  using safetensors::Dtype;
  return dtype == Dtype::kI32 || dtype == Dtype::kI64;
}

bool fits(const std::vector<int64_t>& shape, const std::vector<int64_t>& expected) {
  return std::ranges::equal(shape, expected,
                            [](int64_t has, int64_t wants) { return wants < 0 || has == wants; });
}

void check_number_of_rows(const std::string& path, const CalibrationFile::Entry& entry,
                          const safetensors::TensorInfo& info) {
  if (entry.rows && is_integer(info.dtype) && fits(info.shape, {entry.stored_rows()})) return;
  refuse(path, "tensor '{}' is {} {}, not one integer for each of {} rows", printable(info.name),
         safetensors::dtype_name(info.dtype), shape_text(info.shape), entry.stored_rows());
}

std::vector<double> json_numbers(const std::string& path, const std::string& layer, const json& value,
                                 const char* key) {
  const json list = value.is_object() ? value.value(key, json()) : json();
  const bool numbers =
      list.is_array() && std::ranges::all_of(list, [](const json& x) { return x.is_number(); });
  if (!list.is_null() && !numbers)
    refuse(path, "layer '{}': {} is not a list of numbers", printable(layer), key);
  return numbers ? list.get<std::vector<double>>() : std::vector<double>();
}

Origin read_origin(const std::string& path, const std::string& layer, const json& word) {
  for (size_t i = 0; i < kOriginNames.size(); ++i)
    if (word == kOriginNames[i]) return static_cast<Origin>(i);
  refuse(path, "the origin of layer '{}' is none of recorded, lora and random", printable(layer));
}

}  // namespace

const safetensors::Metadata& CalibrationFile::metadata() const {
  static const safetensors::Metadata kNone;
  return file_ ? file_->metadata() : kNone;
}

CalibrationFile CalibrationFile::open(const std::string& path) {
  CalibrationFile file;
  file.path_ = path;
  path.ends_with(".json") ? file.read_json() : file.read_safetensors();
  return file;
}

CalibrationFile CalibrationFile::open_activations(const std::string& path) {
  CalibrationFile file;
  file.path_ = path;
  file.file_.emplace(model::Checkpoint::open(path));
  const auto tensors = file.file_->entries();
  const auto format = file.metadata().find("format");
  const bool is_calibration =
      (format != file.metadata().end() && format->second == kFormat) ||
      (!tensors.empty() &&
       std::ranges::all_of(tensors, [](const CheckpointEntry& tensor) { return find_part(tensor.name()); }));
  if (is_calibration) {
    file.read_safetensors();
  } else {
    for (const CheckpointEntry& tensor : tensors) file.entries_[tensor.name()].rows = &tensor;
  }
  for (const auto& [layer, entry] : file.entries_) {
    if (!entry.rows) refuse(path, "has no rows of layer '{}', only statistics", printable(layer));
    const safetensors::TensorInfo& info = *entry.rows->info;
    if (info.shape.size() != 2 || !safetensors::is_float(info.dtype)) {
      refuse(path, "tensor '{}' is {} {}, not a matrix [rows, in_features] of floating-point numbers",
             printable(info.name), safetensors::dtype_name(info.dtype), shape_text(info.shape));
    }
  }
  return file;
}

void CalibrationFile::read_safetensors() {
  if (!file_) file_.emplace(model::Checkpoint::open(path_));
  for (const CheckpointEntry& tensor : file_->entries()) {
    const Part* part = find_part(tensor.name());
    if (!part) {
      refuse(path_, "tensor '{}' is no statistic of a calibration file (.rows, .hessian, .mean ...)",
             printable(tensor.name()));
    }
    entries_[tensor.name().substr(0, tensor.name().size() - part->first.size())].*part->second = &tensor;
  }
  read_header_entries();
}

void CalibrationFile::read_header_entries() {
  const auto entry = [&](const char* key) {
    const auto found = metadata().find(key);
    return found == metadata().end() ? std::string() : found->second;
  };
  if (const std::string version = entry("version");
      entry("format") == kFormat && !version.empty() && version != kVersion)
    refuse(path_, "is of version '{}' of the format; this program reads version {}", printable(version),
           kVersion);
  const auto object = [&](const char* key) {
    const std::string text = entry(key);
    if (text.empty() && !metadata().contains(key)) return json::object();
    json value = json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!value.is_object()) refuse(path_, "the header entry '{}' is not a JSON object", key);
    return value;
  };
  const json shared = object("shared"), counts = object("counts"), origins = object("origins");
  for (const auto& [layer, owner] : shared.items()) {
    if (!owner.is_string() || !entries_.contains(owner.get<std::string>()))
      refuse(path_, "layer '{}' shares an input that is not in the file", printable(layer));
    if (!entries_.contains(layer)) shared_[layer] = owner.get<std::string>();
  }
  for (const auto& [layer, count] : counts.items()) {
    if (!count.is_number_unsigned())
      refuse(path_, "the header entry 'counts' has no number for layer '{}'", printable(layer));
    counts_[layer] = count.get<int64_t>();
  }
  for (const auto& [layer, origin] : origins.items()) origins_[layer] = read_origin(path_, layer, origin);
}

void CalibrationFile::read_json() {
  const json root = json::parse(read_file(path_), nullptr, /*allow_exceptions=*/false);
  if (!root.is_object()) refuse(path_, "is not a JSON object of layers");
  for (const auto& [layer, value] : root.items()) {
    Entry& entry = entries_[layer];
    const json scale = value.is_object() ? value.value("input_scale", json()) : value;
    if (scale.is_number()) entry.json_input_scale = scale.get<double>();
    if (!scale.is_number() && !scale.is_null())
      refuse(path_, "layer '{}': the input scale is not a number", printable(layer));
    if (value.is_object() && value.contains("origin"))
      origins_[layer] = read_origin(path_, layer, value.at("origin"));
    entry.json_channel_max = json_numbers(path_, layer, value, "channel_max");
    entry.json_channel_mean = json_numbers(path_, layer, value, "channel_mean");
    if (!value.is_object() && !value.is_number())
      refuse(path_, "layer '{}' is neither an input scale nor an object of statistics", printable(layer));
  }
}

int64_t CalibrationFile::width(const std::string& owner) const {
  const Entry& entry = entries_.find(owner)->second;
  int64_t width = 0;
  for (const Part& part : kParts) {
    const CheckpointEntry* tensor = entry.*part.second;
    if (!tensor) continue;
    const std::vector<int64_t>& shape = tensor->info->shape;
    if (part.first == ".input_scale") {
      if (tensor->info->numel() != 1)
        refuse(path_, "tensor '{}' has shape {}, not one element", printable(tensor->name()),
               shape_text(shape));
      continue;
    }
    if (is_of_rows(part)) {
      check_number_of_rows(path_, entry, *tensor->info);
      continue;
    }
    if (width == 0 && !shape.empty()) width = shape.back();
    const std::vector<int64_t> expected = part.first == ".rows"      ? std::vector<int64_t>{-1, width}
                                          : part.first == ".hessian" ? std::vector<int64_t>{width, width}
                                                                     : std::vector<int64_t>{width};
    if (width == 0 || !fits(shape, expected)) {
      refuse(path_, "tensor '{}' has shape {}, which does not fit a layer that reads {} columns",
             printable(tensor->name()), shape_text(shape), width);
    }
    model::scalar_type(*tensor->info);
  }
  for (const std::vector<double>* list : {&entry.json_channel_max, &entry.json_channel_mean}) {
    if (list->empty()) continue;
    if (width == 0) width = static_cast<int64_t>(list->size());
    if (static_cast<int64_t>(list->size()) != width)
      refuse(path_, "channel_max and channel_mean of '{}' have {} and {} values", printable(owner),
             entry.json_channel_max.size(), entry.json_channel_mean.size());
  }
  return width;
}

int64_t CalibrationFile::counted(const std::string& owner) const {
  const auto found = counts_.find(owner);
  return found != counts_.end() ? found->second : entries_.find(owner)->second.stored_rows();
}

Origin CalibrationFile::origin(const std::string& owner) const {
  if (const auto found = origins_.find(owner); found != origins_.end()) return found->second;
  const auto source = metadata().find("source");
  const bool random = source != metadata().end() && source->second.starts_with(kRandomSource);
  return random && entries_.find(owner)->second.stored_rows() == 0 ? Origin::kRandom : Origin::kRecorded;
}

std::vector<std::string> MatchedLayers::inputs(std::string_view layer) const {
  std::vector<std::string> found{owners.find(layer)->second};
  if (const auto others = joined.find(layer); others != joined.end())
    found.insert(found.end(), others->second.begin(), others->second.end());
  return found;
}

MatchedLayers CalibrationFile::match(const model::Checkpoint& checkpoint) const {
  const LayerNames names(checkpoint);
  MatchedLayers matched;
  std::vector<std::pair<std::string, std::string>> unfound;
  const auto add = [&](const std::string& recorded, const std::string& owner) {
    const CheckpointEntry* weight = names.find(recorded);
    if (!weight) {
      unfound.emplace_back(recorded, owner);
      return;
    }
    check_width(owner, weight->layer(), weight->info->shape.at(1));
    matched.owners.emplace(weight->layer(), owner);
  };
  for (const auto& [layer, entry] : entries_) add(layer, layer);
  for (const auto& [layer, owner] : shared_) add(layer, owner);
  match_renamed(unfound, names, matched);
  if (!matched.owners.empty()) return matched;
  fail(ErrorCode::kFailure, "{}: none of its {} layers is in {}{}; it was recorded for another model", path_,
       entries_.size(), checkpoint.path(),
       matched.unmatched.empty() ? ""
                                 : fmt::format(" (the first is '{}')", printable(matched.unmatched.front())));
}

void CalibrationFile::match_renamed(const std::vector<std::pair<std::string, std::string>>& layers,
                                    const LayerNames& names, MatchedLayers& matched) const {
  struct Joined {
    int index;
    std::string owner;
  };
  std::map<std::string, std::vector<Joined>> parts;
  for (const auto& [recorded, owner] : layers) {
    const LayerNames::Renamed found = names.find_renamed(recorded);
    if (!found.weight || matched.owners.contains(found.weight->layer())) {
      matched.unmatched.push_back(recorded);
      continue;
    }
    check_width(owner, found.weight->layer(), found.weight->info->shape[1]);
    parts[std::string(found.weight->layer())].push_back({found.part, owner});
    ++matched.renamed;
  }
  const auto knows = [&](const Joined& part) {
    const Entry& entry = entries_.find(part.owner)->second;
    return std::tuple(origin(part.owner) == Origin::kRecorded, entry.hessian != nullptr, entry.stored_rows(),
                      entry.second_moment != nullptr, entry.mean != nullptr);
  };
  for (auto& [layer, of_layer] : parts) {
    std::ranges::stable_sort(of_layer, [&](const Joined& a, const Joined& b) {
      return knows(a) != knows(b) ? knows(a) > knows(b) : a.index < b.index;
    });
    std::vector<std::string> owners;
    for (const Joined& part : of_layer) {
      const bool alike = origin(part.owner) == origin(of_layer.front().owner);
      if (alike && std::ranges::find(owners, part.owner) == owners.end()) owners.push_back(part.owner);
    }
    matched.owners.emplace(layer, owners.front());
    if (owners.size() > 1) matched.joined.emplace(layer, std::vector(owners.begin() + 1, owners.end()));
  }
  matched.renamed_to = parts.size();
}

void CalibrationFile::check_width(const std::string& owner, std::string_view layer,
                                  int64_t in_features) const {
  const Entry& entry = entries_.find(owner)->second;
  const auto check = [&](const CheckpointEntry* tensor, const std::vector<int64_t>& expected) {
    if (!tensor) return;
    if (!fits(tensor->info->shape, expected)) {
      refuse(path_,
             "tensor '{}' has shape {}, but layer '{}' reads {} columns; it was recorded for another model",
             printable(tensor->name()), shape_text(tensor->info->shape), printable(layer), in_features);
    }
    model::scalar_type(*tensor->info);
  };
  check(entry.rows, {-1, in_features});
  check(entry.hessian, {in_features, in_features});
  for (const CheckpointEntry* vector :
       {entry.second_moment, entry.mean, entry.channel_max, entry.channel_mean})
    check(vector, {in_features});
  for (const RowPart& part : kRowParts)
    if (const CheckpointEntry* of_rows = entry.*part.stored)
      check_number_of_rows(path_, entry, *of_rows->info);
  if (entry.input_scale && entry.input_scale->info->numel() != 1)
    refuse(path_, "tensor '{}' has shape {}, not one element", printable(entry.input_scale->name()),
           shape_text(entry.input_scale->info->shape));
  if (!entry.json_channel_max.empty() && static_cast<int64_t>(entry.json_channel_max.size()) != in_features)
    refuse(path_, "channel_max of '{}' has {} values, but layer '{}' reads {} columns", printable(owner),
           entry.json_channel_max.size(), printable(layer), in_features);
}

RowOrigins row_origins(const CalibrationFile::Entry& entry) {
  RowOrigins origins;
  for (const RowPart& part : kRowParts)
    if (const CheckpointEntry* stored = entry.*part.stored)
      origins.*part.loaded = model::load(*stored).to(at::kLong);
  const at::Tensor& counts = origins.counts;
  if (counts.defined() && counts.numel() > 0 && counts.min().item<int64_t>() < 1)
    fail(ErrorCode::kBadInput, "calibration data: tensor '{}' has a count below 1",
         printable(entry.row_counts->name()));
  return origins;
}

at::Tensor stored_rows(const CheckpointEntry& rows) {
  const at::Tensor stored = model::load(rows);
  return stored.scalar_type() == at::kDouble ? stored.to(at::kFloat) : stored;
}

at::Tensor usable_rows(const CheckpointEntry& rows) { return finite_rows(stored_rows(rows)); }

}  // namespace ctq::calibrate
