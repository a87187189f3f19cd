#include "model/file_kind.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace ctq::model {
namespace {

/// Parts of an adapter's tensor names that no model has.
constexpr std::array<std::string_view, 13> kAdapterWords = {
    ".lora_A",     ".lora_B",    ".lora_up",   ".lora_down", ".lora.up.", ".lora.down.",        "_lora.up.",
    "_lora.down.", ".hada_w1_a", ".hada_w2_a", ".lokr_w1",   ".lokr_w2",  ".lora_linear_layer."};

/// Tensors that stand beside those.
constexpr std::array<std::string_view, 14> kAdapterEndings = {
    ".alpha",     ".dora_scale", ".diff",    ".diff_b",  ".w_norm",    ".b_norm",    ".hada_w1_b",
    ".hada_w2_b", ".hada_t1",    ".hada_t2", ".lokr_t2", ".lokr_w2_a", ".lokr_w2_b", ".lora_mid.weight"};

/// Tensors that a VAE has and nothing else: its first or last convolution.
constexpr std::array<std::string_view, 6> kVaeTensors = {
    "decoder.conv_in.weight",      "decoder.conv_out.weight",      "decoder.conv1.weight",
    "decoder.conv_in.conv.weight", "decoder.conv_out.conv.weight", "decoder.layers.0.weight"};

/// What every name of a VAE begins with.
constexpr std::array<std::string_view, 10> kVaePrefixes = {
    "encoder.", "decoder.", "quant_conv.", "post_quant_conv.",        "conv1.",
    "conv2.",   "bn.",      "loss.",       "per_channel_statistics.", "latents_"};

constexpr std::array<std::string_view, 3> kVaeOuter = {"first_stage_model.", "vae.", ""};

/// Tensors of a calibration file (docs/formats/calibration.md).
constexpr std::array<std::string_view, 7> kCalibrationEndings = {
    ".rows", ".hessian", ".second_moment", ".mean", ".channel_max", ".channel_mean", ".input_scale"};

bool is_calibration(const Checkpoint& checkpoint) {
  const auto format = checkpoint.metadata().find("format");
  if (format != checkpoint.metadata().end() && format->second == "ctq-calibration") return true;
  return std::ranges::all_of(checkpoint.entries(), [](const Checkpoint::Entry& entry) {
    return std::ranges::any_of(kCalibrationEndings,
                               [&](auto ending) { return entry.name().ends_with(ending); });
  });
}

template <typename Words>
bool has_word(std::string_view name, const Words& words) {
  return std::ranges::any_of(
      words, [&](std::string_view word) { return name.find(word) != std::string_view::npos; });
}

bool is_adapter(const Checkpoint& checkpoint) {
  bool any = false;
  for (const Checkpoint::Entry& entry : checkpoint.entries()) {
    const std::string& name = entry.name();
    if (has_word(name, kAdapterWords)) {
      any = true;
    } else if (entry.is_matrix() &&
               std::ranges::none_of(kAdapterEndings, [&](auto ending) { return name.ends_with(ending); })) {
      return false;
    }
  }
  return any;
}

bool is_vae(const Checkpoint& checkpoint) {
  return std::ranges::any_of(kVaeOuter, [&](std::string_view outer) {
    const bool only = std::ranges::all_of(checkpoint.entries(), [&](const Checkpoint::Entry& entry) {
      std::string_view name = entry.name();
      if (!name.starts_with(outer)) return false;
      name.remove_prefix(outer.size());
      return std::ranges::any_of(kVaePrefixes, [&](auto prefix) { return name.starts_with(prefix); });
    });
    return only && std::ranges::any_of(kVaeTensors, [&](std::string_view tensor) {
             return checkpoint.find(std::string(outer) + std::string(tensor)) != nullptr;
           });
  });
}

}  // namespace

FileKind kind_of(const Checkpoint& checkpoint) {
  if (checkpoint.entries().empty()) return FileKind::kModel;
  if (is_calibration(checkpoint)) return FileKind::kCalibration;
  if (is_adapter(checkpoint)) return FileKind::kAdapter;
  return is_vae(checkpoint) ? FileKind::kVae : FileKind::kModel;
}

}  // namespace ctq::model
