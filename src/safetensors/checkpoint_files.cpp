// What a path stands for: a file, a set of shards, a folder, a pipeline of diffusers.
#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <filesystem>
#include <map>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "base/text.h"
#include "descriptor.h"
#include "safetensors/index.h"

namespace ctq::safetensors {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kFileSuffix = ".safetensors";
constexpr std::string_view kIndexMiddle =
    ".safetensors.index.";  // then "json", or with a variant "fp16.json"
constexpr std::string_view kPipelineIndex = "model_index.json";

bool is_index_name(std::string_view name) {
  return name.ends_with(".json") && name.find(kIndexMiddle) != std::string_view::npos;
}

/// Folders of a pipeline whose model makes the image; the others prepare its input or decode its output.
bool is_denoiser(std::string_view folder) {
  return folder.starts_with("transformer") || folder.starts_with("unet") || folder == "prior" ||
         folder == "decoder";
}

/// Names of the folder's entries of that kind, sorted. Hidden ones are left out: unfinished files, or a file
/// system's shadows.
template <typename Wanted>
std::vector<std::string> names_in(const std::string& folder, const Wanted& wanted) {
  std::vector<std::string> names;
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (!name.starts_with('.') && wanted(name)) names.push_back(name);
  }
  if (error) fail(ErrorCode::kBadInput, "{}: cannot be listed: {}", folder, error.message());
  std::ranges::sort(names);
  return names;
}

bool is_weights_name(std::string_view name) { return name.ends_with(kFileSuffix) || is_index_name(name); }

/// Other containers, and what PyTorch pickles.
bool is_other_weights_name(std::string_view name) {
  constexpr std::array<std::string_view, 5> kEndings = {".bin", ".ckpt", ".pt", ".pth", ".gguf"};
  return std::ranges::any_of(kEndings, [&](std::string_view ending) { return name.ends_with(ending); });
}

/// "'a', 'b' and 7 more".
std::string quoted_list(const std::vector<std::string>& names) {
  constexpr size_t kShown = 10;
  std::string list;
  for (size_t i = 0; i < std::min(names.size(), kShown); ++i) {
    list += fmt::format("{}'{}'", i == 0 ? "" : ", ", printable(names[i]));
  }
  return names.size() > kShown ? fmt::format("{} and {} more", list, names.size() - kShown) : list;
}

CheckpointFiles resolve_index(const std::string& path) {
  CheckpointFiles checkpoint{.index = path};
  const fs::path folder = fs::path(path).parent_path();
  for (const std::string& shard : read_index(path).shards()) {
    const std::string file = (folder / shard).string();
    std::error_code error;
    const fs::file_status status = fs::status(file, error);
    if (!fs::exists(status)) {
      fail(ErrorCode::kBadInput, "{}: lists the shard '{}', but {}: {}; is the download complete?", path,
           printable(shard), file, system_reason(error ? error.value() : ENOENT));
    }
    if (fs::is_directory(status)) {
      fail(ErrorCode::kBadInput, "{}: lists the shard '{}', but {} is a directory", path, printable(shard),
           file);
    }
    checkpoint.files.push_back(file);
  }
  if (checkpoint.files.empty()) fail(ErrorCode::kBadInput, "{}: the index lists no tensors", path);
  return checkpoint;
}

/// All shards of a set that has no index. said_of: the path that the message is about
CheckpointFiles resolve_set(const fs::path& folder, const ShardName& shard, const std::string& said_of) {
  CheckpointFiles checkpoint;
  for (int64_t number = 1; number <= shard.count; ++number) {
    const std::string name = shard.of(number), file = (folder / name).string();
    std::error_code error;
    if (!fs::exists(file, error)) {
      fail(ErrorCode::kBadInput,
           "{}: is of a set of {} shards, of which '{}' is missing; is the download complete?", said_of,
           shard.count, printable(name));
    }
    checkpoint.files.push_back(file);
  }
  return checkpoint;
}

/// The index beside a shard that lists it; empty where there is none.
std::string index_beside(const fs::path& folder, const std::string& shard) {
  for (const std::string& name : names_in(folder.empty() ? "." : folder.string(), is_index_name)) {
    const std::string path = (folder / name).string();
    try {
      const std::vector<std::string> shards = read_index(path).shards();
      if (std::ranges::count(shards, shard) > 0) return path;
    } catch (const Error&) {
      continue;  // of another model, or none
    }
  }
  return "";
}

CheckpointFiles resolve_file(const std::string& path, Shard alone) {
  const fs::path folder = fs::path(path).parent_path();
  const std::string name = fs::path(path).filename().string();
  const std::optional<ShardName> shard = parse_shard_name(name);
  if (!shard || shard->count == 1 || alone == Shard::kAlone) return {.files = {path}};
  const std::string index = index_beside(folder, name);
  CheckpointFiles checkpoint = index.empty() ? resolve_set(folder, *shard, path) : resolve_index(index);
  checkpoint.note = fmt::format("{} is shard {} of {}; the whole set is read{}", path, shard->number,
                                shard->count, index.empty() ? "" : ", as its index lists it");
  return checkpoint;
}

/// What a folder has to offer: files of their own and sets, each by its first name.
CheckpointFiles resolve_files_of(const std::string& folder, const std::vector<std::string>& names) {
  std::map<std::string, std::string> candidates;  // by the first shard's name, or the file's
  std::optional<ShardName> set;
  for (const std::string& name : names) {
    const std::optional<ShardName> shard = parse_shard_name(name);
    const bool of_several = shard && shard->count > 1;
    if (of_several) set = shard;
    candidates.emplace(of_several ? shard->of(1) : name, name);
  }
  if (candidates.size() > 1) {
    std::vector<std::string> shown;
    for (const auto& [first, name] : candidates) shown.push_back(name);
    fail(ErrorCode::kBadInput, "{}: the folder holds {} candidates ({}); name the file that is meant", folder,
         shown.size(), quoted_list(shown));
  }
  if (set) return resolve_set(folder, *set, folder);
  return {.files = {(fs::path(folder) / names.front()).string()}};
}

CheckpointFiles resolve_folder(const std::string& folder);

/// A folder whose models lie in folders of their own.
CheckpointFiles resolve_pipeline(const std::string& folder) {
  const auto holds_weights = [&](const std::string& name) {
    std::error_code error;
    const fs::path path = fs::path(folder) / name;
    return fs::is_directory(path, error) && !names_in(path.string(), is_weights_name).empty();
  };
  const std::vector<std::string> parts = names_in(folder, holds_weights);
  std::vector<std::string> denoisers;
  std::ranges::copy_if(parts, std::back_inserter(denoisers), is_denoiser);
  if (parts.empty()) {
    std::error_code error;
    const bool pipeline = fs::exists(fs::path(folder) / kPipelineIndex, error);
    const std::vector<std::string> others = names_in(folder, is_other_weights_name);
    fail(ErrorCode::kBadInput, "{}: {} holds neither a *.safetensors.index.json nor a *.safetensors{}",
         folder, pipeline ? "no folder of the pipeline" : "the folder",
         others.empty() ? "" : fmt::format("; {} cannot be read", quoted_list(others)));
  }
  if (denoisers.size() != 1) {
    fail(ErrorCode::kBadInput,
         "{}: the folder holds no model itself; its folders {} do; name the one that is meant", folder,
         quoted_list(denoisers.empty() ? parts : denoisers));
  }
  CheckpointFiles checkpoint = resolve_folder((fs::path(folder) / denoisers.front()).string());
  std::vector<std::string> others;
  std::ranges::copy_if(parts, std::back_inserter(others),
                       [&](auto& part) { return part != denoisers.front(); });
  checkpoint.note = fmt::format("{} is a pipeline; its model in {}/ is read{}{}", folder, denoisers.front(),
                                others.empty() ? "" : ", and nothing of ", fmt::join(others, ", "));
  return checkpoint;
}

CheckpointFiles resolve_folder(const std::string& folder) {
  const std::vector<std::string> indexes = names_in(folder, is_index_name);
  if (indexes.size() > 1) {
    fail(ErrorCode::kBadInput, "{}: the folder holds {} candidates ({}); name the file that is meant", folder,
         indexes.size(), quoted_list(indexes));
  }
  if (!indexes.empty()) return resolve_index((fs::path(folder) / indexes.front()).string());
  const std::vector<std::string> names =
      names_in(folder, [](std::string_view name) { return name.ends_with(kFileSuffix); });
  return names.empty() ? resolve_pipeline(folder) : resolve_files_of(folder, names);
}

/// Takes a number off the end of `text`, with the digits it is written with.
std::optional<std::pair<int64_t, int>> take_number(std::string_view& text) {
  constexpr size_t kFewest = 4, kMost = 9;  // digits
  const size_t start = text.find_last_not_of("0123456789") + 1;
  const std::string_view digits = text.substr(start);
  if (digits.size() < kFewest || digits.size() > kMost) return std::nullopt;
  int64_t value = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), value);
  text = text.substr(0, start);
  return std::pair(value, static_cast<int>(digits.size()));
}

bool take_word(std::string_view& text, std::string_view word) {
  if (!text.ends_with(word)) return false;
  text.remove_suffix(word.size());
  return true;
}

}  // namespace

std::string ShardName::of(int64_t other) const {
  return fmt::format("{}-{:0{}}-of-{:0{}}{}", stem, other, digits, count, digits, ending);
}

std::optional<ShardName> parse_shard_name(std::string_view name) {
  std::string_view rest = name;
  if (!take_word(rest, kFileSuffix)) return std::nullopt;
  const auto parse = [](std::string_view text) -> std::optional<ShardName> {
    const auto count = take_number(text);
    if (!count || !take_word(text, "-of-")) return std::nullopt;
    const auto number = take_number(text);
    if (!number || !take_word(text, "-") || number->second != count->second) return std::nullopt;
    if (number->first < 1 || number->first > count->first) return std::nullopt;
    return ShardName{.stem = std::string(text),
                     .ending = "",
                     .number = number->first,
                     .count = count->first,
                     .digits = count->second};
  };
  std::optional<ShardName> shard = parse(rest);
  if (const size_t dot = rest.rfind('.'); !shard && dot != std::string_view::npos)
    shard = parse(rest = rest.substr(0, dot));
  if (shard) shard->ending = name.substr(rest.size());
  return shard;
}

CheckpointFiles resolve_checkpoint(const std::string& path, Shard shard) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) {
    fail(ErrorCode::kBadInput, "{}: cannot be opened: {}", path,
         system_reason(error ? error.value() : ENOENT));
  }
  if (fs::is_directory(status)) return resolve_folder(path);
  if (fs::path(path).filename() == kPipelineIndex) {
    const fs::path folder = fs::path(path).parent_path();
    return resolve_pipeline(folder.empty() ? "." : folder.string());
  }
  return path.ends_with(".json") ? resolve_index(path) : resolve_file(path, shard);
}

}  // namespace ctq::safetensors
