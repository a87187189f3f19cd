// Joins recordings of one model.
#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include <ATen/ATen.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "calibrate/statistics_file.h"

namespace ctq::calibrate {
namespace {

using Entry = CalibrationFile::Entry;
using nlohmann::json;

/// An input of one of the files.
struct Source {
  const CalibrationFile* file;
  std::string owner;

  const Entry& entry() const { return file->entries().find(owner)->second; }
  double weight() const { return static_cast<double>(file->counted(owner)); }
  auto operator<=>(const Source&) const = default;
};
using Sources = std::vector<Source>;

bool has_rows(const Source& source) { return source.entry().stored_rows() > 0; }

/// Statistics of the rows of a source, taken when one is asked for.
class OfRows {
 public:
  explicit OfRows(const Source& source) : source_(source) {}
  const InputStatistics* get() {
    if (!taken_ && has_rows(source_)) {
      const at::Tensor rows = usable_rows(*source_.entry().rows);
      if (rows.size(0) > 0) statistics_ = measure(rows, /*percentile=*/100);
    }
    taken_ = true;
    return statistics_ ? &*statistics_ : nullptr;
  }

 private:
  const Source& source_;
  bool taken_ = false;
  std::optional<InputStatistics> statistics_;
};

/// Sum of w x / sum of w, in float64, over what is added.
class WeightedMean {
 public:
  void add(const at::Tensor& values, double weight) {
    if (!sum_.defined()) sum_ = at::zeros(values.sizes(), at::kDouble);
    sum_.add_(values, weight);
    weights_ += weight;
  }
  at::Tensor value() const { return sum_.defined() ? (sum_ / weights_).to(at::kFloat) : at::Tensor(); }

 private:
  at::Tensor sum_;
  double weights_ = 0;
};

/// How much each source counts in averages: by its rows, or equally when those of one are not known.
std::vector<double> weights_of(const Sources& sources) {
  std::vector<double> weights;
  for (const Source& source : sources) weights.push_back(source.weight());
  if (std::ranges::any_of(weights, [](double weight) { return weight <= 0; }))
    std::ranges::fill(weights, 1.0);
  return weights;
}

bool any_has(const Sources& sources, const model::Checkpoint::Entry* Entry::*part) {
  return std::ranges::any_of(sources, [&](const Source& source) { return source.entry().*part != nullptr; });
}

at::Tensor json_values(const std::vector<double>& values) {
  return values.empty() ? at::Tensor() : at::tensor(values, at::kDouble).to(at::kFloat);
}

at::Tensor load_float(const model::Checkpoint::Entry* entry) {
  return entry ? model::load(*entry).to(at::kFloat) : at::Tensor();
}

/// Mean square of each column; undefined: neither stored nor rows.
at::Tensor second_moment_of(const Source& source) {
  const Entry& entry = source.entry();
  if (entry.second_moment || !has_rows(source)) return load_float(entry.second_moment);
  return mean_square_of(stored_rows(*entry.rows), row_origins(entry).counts);
}

at::Tensor merged_second_moment(const Sources& sources) {
  WeightedMean mean;
  const std::vector<double> weights = weights_of(sources);
  for (size_t i = 0; i < sources.size(); ++i) {
    if (const at::Tensor diagonal = second_moment_of(sources[i]); diagonal.defined())
      mean.add(diagonal, weights[i]);
  }
  return mean.value();
}

at::Tensor merged_hessian(const Sources& sources, int64_t width) {
  const std::vector<double> weights = weights_of(sources);
  at::Tensor sum = at::zeros({width, width}, at::kFloat);
  double total = 0;
  for (size_t i = 0; i < sources.size(); ++i) {
    at::Tensor h = load_float(sources[i].entry().hessian);
    if (!h.defined() && has_rows(sources[i])) {
      const at::Tensor rows = usable_rows(*sources[i].entry().rows);
      if (rows.size(0) > 0) h = second_moment(rows);
    }
    if (!h.defined()) continue;
    sum.add_(h, weights[i]);
    total += weights[i];
  }
  return total > 0 ? sum.div_(total) : sum;
}

/// The small statistics. Those that no file has are left out, unless H takes the place of the rows that they
/// could be taken of.
InputStatistics merged_statistics(const Sources& sources, bool rows_go) {
  const std::vector<double> weights = weights_of(sources);
  const bool wants_mean = rows_go || any_has(sources, &Entry::mean);
  WeightedMean mean, channel_mean;
  InputStatistics merged;
  const auto has_json = [](const Source& source) { return !source.entry().json_channel_max.empty(); };
  const bool wants_channels = rows_go || any_has(sources, &Entry::channel_max) ||
                              any_has(sources, &Entry::channel_mean) ||
                              std::ranges::any_of(sources, has_json);
  for (size_t i = 0; i < sources.size(); ++i) {
    const Entry& entry = sources[i].entry();
    OfRows of_rows(sources[i]);
    const auto stored_or_taken = [&](at::Tensor stored, at::Tensor InputStatistics::*part, bool wanted) {
      if (stored.defined() || !wanted) return stored;
      const InputStatistics* taken = of_rows.get();
      return taken ? taken->*part : at::Tensor();
    };
    if (const at::Tensor x = stored_or_taken(load_float(entry.mean), &InputStatistics::mean, wants_mean);
        x.defined())
      mean.add(x, weights[i]);
    at::Tensor x = entry.channel_mean ? load_float(entry.channel_mean) : json_values(entry.json_channel_mean);
    x = stored_or_taken(x, &InputStatistics::channel_mean, wants_channels);
    if (x.defined()) channel_mean.add(x, weights[i]);
    x = entry.channel_max ? load_float(entry.channel_max) : json_values(entry.json_channel_max);
    x = stored_or_taken(x, &InputStatistics::channel_max, wants_channels);
    if (x.defined())
      merged.channel_max = merged.channel_max.defined() ? at::maximum(merged.channel_max, x) : x;
    std::optional<double> scale = entry.json_input_scale;
    if (entry.input_scale) scale = model::load(*entry.input_scale).to(at::kDouble).item<double>();
    if (scale) merged.input_scale = std::max(merged.input_scale.value_or(*scale), *scale);
    merged.count += sources[i].file->counted(sources[i].owner);
  }
  merged.mean = mean.value();
  merged.channel_mean = channel_mean.value();
  return merged;
}

PendingTensor merged_rows(const Sources& sources, int64_t width, const MergeOptions& options) {
  int64_t count = 0;
  at::ScalarType type = at::kBFloat16;
  bool first = true;
  for (const Source& source : sources) {
    if (!has_rows(source)) continue;
    const at::ScalarType stored = model::scalar_type(*source.entry().rows->info);
    type = first ? stored : c10::promoteTypes(type, stored);
    first = false;
    count += source.entry().stored_rows();
  }
  const int64_t kept = std::min(count, options.rows.value_or(count));
  const auto make = [sources, type, kept, seed = options.seed] {
    std::vector<at::Tensor> parts;
    for (const Source& source : sources)
      if (has_rows(source)) parts.push_back(model::load(*source.entry().rows).to(type));
    return choose_rows(parts.size() == 1 ? parts[0] : at::cat(parts), kept, seed);
  };
  return {".rows", type, {kept, width}, make};
}

/// What some of the sources know of each row, for all of them: rows without a count were seen once; a
/// recording that tells no pictures is one.
at::Tensor joined_origins(const Sources& sources, at::Tensor RowOrigins::*part) {
  std::vector<at::Tensor> joined;
  int64_t pictures = 0;
  for (const Source& source : sources) {
    if (!has_rows(source)) continue;
    at::Tensor values = row_origins(source.entry()).*part;
    if (!values.defined())
      values = at::full({source.entry().stored_rows()}, part == &RowOrigins::counts ? 1 : 0, at::kLong);
    if (part == &RowOrigins::pictures) {
      values = values + pictures;
      pictures = values.numel() > 0 ? values.max().item<int64_t>() + 1 : pictures;
    }
    joined.push_back(values);
  }
  return at::cat(joined).to(at::kInt);
}

/// In the order of merged_rows().
std::vector<PendingTensor> merged_origins(const Sources& sources, int64_t kept, const MergeOptions& options) {
  std::vector<PendingTensor> pending;
  for (const RowPart& part : kRowParts) {
    if (!any_has(sources, part.stored)) continue;
    const auto make = [sources, kept, loaded = part.loaded, seed = options.seed] {
      return choose_rows(joined_origins(sources, loaded), kept, seed);
    };
    pending.push_back({std::string(part.name), at::kInt, {kept}, make});
  }
  return pending;
}

/// Width of an input, the same in all sources.
int64_t common_width(const Sources& sources, const std::string& layer) {
  int64_t width = 0;
  const Source* first = nullptr;
  for (const Source& source : sources) {
    const int64_t here = source.file->width(source.owner);
    if (here == 0) continue;
    if (first && here != width) {
      fail(ErrorCode::kBadInput,
           "{}: layer '{}' reads {} columns, but {} in {}; these are recordings of different models",
           source.file->path(), printable(layer), here, width, first->file->path());
    }
    width = here;
    if (!first) first = &source;
  }
  return width;
}

StatisticsEntry merged_entry(const Sources& sources, const std::string& layer, const MergeOptions& options) {
  const int64_t width = common_width(sources, layer);
  const bool any_rows = std::ranges::any_of(sources, has_rows);
  const bool has_hessian = any_has(sources, &Entry::hessian);
  StatisticsEntry entry;
  entry.layer = layer;
  for (const Source& source : sources) entry.origin = worse(entry.origin, source.file->origin(source.owner));
  entry.statistics = merged_statistics(sources, /*rows_go=*/options.hessian && any_rows);
  int64_t stored = 0;
  for (const Source& source : sources) stored += source.entry().stored_rows();
  if (any_has(sources, &Entry::second_moment) || (!options.hessian && options.rows.value_or(stored) < stored))
    entry.second_moment = merged_second_moment(sources);
  if (options.hessian && !has_hessian && !any_rows) {
    fail(ErrorCode::kBadInput, "{}: layer '{}' has neither rows nor H, from which H could be made",
         sources.front().file->path(), printable(layer));
  }
  if (has_hessian || options.hessian)
    entry.large.push_back(
        {".hessian", at::kFloat, {width, width}, [=] { return merged_hessian(sources, width); }});
  if (any_rows && !options.hessian) {
    const PendingTensor& rows = entry.large.emplace_back(merged_rows(sources, width, options));
    std::ranges::move(merged_origins(sources, rows.shape[0], options), std::back_inserter(entry.large));
  }
  return entry;
}

/// Every layer of the files, with the inputs that it reads.
std::map<std::string, Sources> sources_by_layer(std::span<const CalibrationFile> files) {
  std::map<std::string, Sources> layers;
  for (const CalibrationFile& file : files) {
    for (const auto& [layer, entry] : file.entries()) layers[layer].push_back({&file, layer});
    for (const auto& [layer, owner] : file.shared()) layers[layer].push_back({&file, owner});
  }
  return layers;
}

void check_same_model(std::span<const CalibrationFile> files, const std::map<std::string, Sources>& layers) {
  for (const CalibrationFile& file : files.subspan(1)) {
    const bool common = std::ranges::any_of(layers, [&](const auto& layer) {
      const Sources& sources = layer.second;
      const auto reads = [](const CalibrationFile* wanted) {
        return [wanted](const Source& source) { return source.file == wanted; };
      };
      return std::ranges::any_of(sources, reads(&file)) && std::ranges::any_of(sources, reads(&files[0]));
    });
    if (!common)
      fail(ErrorCode::kBadInput,
           "{}: has no layer in common with {}; these are recordings of different models", file.path(),
           files[0].path());
  }
}

void warn_of_unknown_counts(std::span<const CalibrationFile> files) {
  if (files.size() < 2) return;
  for (const CalibrationFile& file : files) {
    const auto unknown = std::ranges::find_if(
        file.entries(), [&](const auto& entry) { return file.counted(entry.first) == 0; });
    if (unknown != file.entries().end()) {
      warn("{} does not say how many rows '{}' has seen; all files weigh the same in such averages",
           file.path(), printable(unknown->first));
    }
  }
}

/// The entry of the header as a JSON value; discarded when there is none.
json header_json(const CalibrationFile& file, const char* key) {
  const auto found = file.metadata().find(key);
  return found == file.metadata().end() ? json(json::value_t::discarded)
                                        : json::parse(found->second, nullptr, /*allow_exceptions=*/false);
}

}  // namespace

std::vector<StatisticsEntry> merge(std::span<const CalibrationFile> files, const MergeOptions& options) {
  const std::map<std::string, Sources> layers = sources_by_layer(files);
  check_same_model(files, layers);
  warn_of_unknown_counts(files);
  std::map<Sources, std::vector<std::string>> inputs;
  for (const auto& [layer, sources] : layers) inputs[sources].push_back(layer);
  std::vector<StatisticsEntry> entries;
  for (auto& [sources, readers] : inputs) {
    // The first file's owner stays the owner.
    const auto owner = std::ranges::find(readers, sources.front().owner);
    if (owner != readers.end()) std::iter_swap(owner, readers.begin());
    StatisticsEntry& entry = entries.emplace_back(merged_entry(sources, readers.front(), options));
    entry.shared_by.assign(readers.begin() + 1, readers.end());
    std::ranges::sort(entry.shared_by);
  }
  std::ranges::sort(entries, {}, &StatisticsEntry::layer);
  return entries;
}

safetensors::Metadata merged_metadata(std::span<const CalibrationFile> files, const MergeOptions& options) {
  safetensors::Metadata merged = files[0].metadata();
  for (const CalibrationFile& file : files.subspan(1)) {
    std::erase_if(merged, [&](const auto& entry) {
      const auto same = file.metadata().find(entry.first);
      return same == file.metadata().end() || same->second != entry.second;
    });
  }
  for (const char* key : {"rows", "uncalled", "skipped", "origins", "distinct", "effective_ranks"})
    merged.erase(key);
  if (options.rows) {
    merged["rows"] = std::to_string(*options.rows);
    merged["seed"] = std::to_string(options.seed);
  }
  std::vector<std::string> sources;
  std::set<std::string> uncalled;
  int64_t samples = 0;
  json skipped = json::object();
  for (const CalibrationFile& file : files) {
    const auto source = file.metadata().find("source");
    if (source != file.metadata().end() && std::ranges::find(sources, source->second) == sources.end())
      sources.push_back(source->second);
    if (const json count = header_json(file, "samples"); count.is_number_integer())
      samples += count.get<int64_t>();
    if (const json list = header_json(file, "uncalled"); list.is_array()) {
      for (const json& layer : list)
        if (layer.is_string()) uncalled.insert(layer.get<std::string>());
    }
    if (const json counts = header_json(file, "skipped"); counts.is_object()) {
      for (const auto& [layer, count] : counts.items())
        if (count.is_number_integer())
          skipped[layer] = skipped.value(layer, int64_t{0}) + count.get<int64_t>();
    }
  }
  for (const auto& [layer, found] : sources_by_layer(files)) uncalled.erase(layer);
  if (!sources.empty()) merged["source"] = fmt::format("{}", fmt::join(sources, "; "));
  if (samples > 0) merged["samples"] = std::to_string(samples);
  if (!uncalled.empty()) merged["uncalled"] = json(uncalled).dump();
  if (!skipped.empty()) merged["skipped"] = skipped.dump();
  return merged;
}

}  // namespace ctq::calibrate
