#include "quantized/sdnq.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "linalg/hadamard.h"

namespace ctq::quantized::sdnq {
namespace {

using nlohmann::json;

constexpr int64_t kUsualGroup = 256;

/// Whether a name begins as the pattern says, in which a '*' stands for any text.
bool begins_as(std::string_view pattern, std::string_view name) {
  size_t at = 0, read = 0, star = std::string_view::npos, resume = 0;
  while (at < pattern.size()) {
    if (pattern[at] == '*') {
      star = at++, resume = read;
    } else if (read < name.size() && pattern[at] == name[read]) {
      ++at, ++read;
    } else if (star != std::string_view::npos && resume < name.size()) {
      at = star + 1, read = ++resume;
    } else {
      return false;
    }
  }
  return true;
}

/// A key of `modules_quant_config`: a whole name, a part of one between dots, a beginning behind a dot, or
/// with '*'.
bool names(std::string_view key, std::string_view tensor) {
  if (key.starts_with('.')) return tensor.starts_with(key.substr(1));
  if (key == tensor) return true;
  if (key.find('*') != std::string_view::npos) return begins_as(key, tensor);
  return key.find('.') == std::string_view::npos &&
         fmt::format(".{}.", tensor).find(fmt::format(".{}.", key)) != std::string::npos;
}

struct Said {
  bool use_codebook = false, use_hadamard = false;
  int64_t group_size = kUsualGroup;
  auto operator<=>(const Said&) const = default;
};

Said read(const json& settings, Said said) {
  const auto truth = [&](const char* key, bool otherwise) {
    const auto found = settings.find(key);
    return found != settings.end() && found->is_boolean() ? found->get<bool>() : otherwise;
  };
  said.use_codebook = truth("use_codebook", said.use_codebook);
  said.use_hadamard = truth("use_hadamard", said.use_hadamard);
  const auto size = settings.find("hadamard_group_size");
  if (size != settings.end() && size->is_number_integer()) said.group_size = size->get<int64_t>();
  return said;
}

/// {0, 2, 0} of "0.2.0"; empty where there is none.
std::vector<int> version_of(const json& configuration) {
  const auto said = configuration.find("sdnq_version");
  std::vector<int> numbers;
  if (said == configuration.end() || !said->is_string()) return numbers;
  const auto& text = said->get_ref<const std::string&>();
  for (const char *at = text.data(), *end = at + text.size(); at < end; ++at) {
    int number = 0;
    const auto [next, error] = std::from_chars(at, end, number);
    if (error != std::errc()) break;
    numbers.push_back(number);
    at = next;
  }
  return numbers;
}

/// Variance of the sizes of four columns, relative to their mean.
double column_variance(const at::Tensor& weight) {
  const at::Tensor sizes = weight.square().sum(at::IntArrayRef{0}, false, at::kDouble).view({-1, 4});
  return (sizes.var(1) / sizes.mean(1).square().clamp_min(1e-300)).mean().item<double>();
}

}  // namespace

int64_t run_of(int64_t channels, int64_t group_size) {
  if (channels < 1 || group_size < 1) return 0;
  auto run = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(std::min(channels, group_size))));
  while (channels % run != 0) run /= 2;
  return run >= 4 ? run : 0;
}

Settings settings_of(const json& configuration, const Layer& layer) {
  Settings settings;
  if (!configuration.is_object()) return settings;
  const Said whole = read(configuration, {});
  std::vector<Said> said;
  if (const auto modules = configuration.find("modules_quant_config");
      modules != configuration.end() && modules->is_object()) {
    for (const auto& [key, own] : modules->items())
      if (own.is_object() && names(key, layer.plain_name())) said.push_back(read(own, whole));
  }
  if (said.empty()) said.push_back(whole);
  if (std::ranges::any_of(said, [&](const Said& other) { return other != said.front(); })) {
    settings.fault = "several entries of modules_quant_config name it, and they differ (SDNQ)";
    return settings;
  }
  settings.use_codebook = said.front().use_codebook;
  if (!said.front().use_hadamard || layer.plain_shape.size() < 2) return settings;
  settings.rotated_run = run_of(layer.plain_shape[1], said.front().group_size);
  const std::vector<int> version = version_of(configuration);
  if (!version.empty() && version <= std::vector{0, 2, 0} && linalg::is_rotation_size(settings.rotated_run))
    settings.fault =
        "its columns are rotated (SDNQ), and versions before 0.2.1 did so with one of two matrices";
  return settings;
}

at::Tensor rotated_back(const at::Tensor& weight, int64_t run) {
  const at::Tensor rows = weight.reshape({weight.size(0), -1});
  const at::Tensor back = linalg::is_rotation_size(run)
                              ? linalg::rotate_columns(rows, run)
                              : linalg::walsh_hadamard(rows.reshape({rows.size(0), -1, run}), 2);
  return back.reshape(weight.sizes());
}

double column_contrast(const at::Tensor& weight) {
  const double stored = column_variance(weight), rotated = column_variance(linalg::rotate_columns(weight, 4));
  return std::log(std::max(stored, 1e-12)) - std::log(std::max(rotated, 1e-12));
}

}  // namespace ctq::quantized::sdnq
