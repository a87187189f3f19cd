#include "profiles.h"

#include <algorithm>

#include <fmt/format.h>

namespace ctq::cli {
namespace {

// The rest of the seed's defaults are the option table's.
constexpr ProfileDefault kSeed[] = {{"optimizer", "original"}};

constexpr ProfileDefault kPeer[] = {
    {"fp8", "true"},
    {"int8", "false"},
    {"scaling_mode", "tensor"},
    {"comfy_quant", "true"},
    {"optimizer", "prodigy"},
    {"num_iter", "4000"},  // its rate of 1.0 is prodigy's own here; the others take theirs
    {"lr_schedule", "plateau"},
    {"lr_patience", "1"},
    {"lr_factor", "0.95"},
    {"lr_min", "1e-8"},
    {"lr_cooldown", "0"},
    {"min_k", "256"},
    {"max_k", "1280"},
    {"early_stop_loss", "5e-9"},
    {"early_stop_lr", "1.01e-8"},
    {"early_stop_stall", "2000"},
};

constexpr ProfileDefault kComfyFp8[] = {
    {"fp8", "true"}, {"int8", "false"}, {"comfy_quant", "true"}, {"save_quant_metadata", "true"}};

constexpr ProfileDefault kComfyInt8[] = {{"int8", "true"},
                                         {"scaling_mode", "row"},
                                         {"convrot", "true"},
                                         {"comfy_quant", "true"},
                                         {"save_quant_metadata", "true"}};

constexpr ProfileDefault kComfyNvfp4[] = {
    {"nvfp4", "true"}, {"int8", "false"}, {"comfy_quant", "true"}, {"save_quant_metadata", "true"}};

constexpr ProfileDefault kComfyW4a4[] = {
    {"format", "convrot_w4a4"}, {"int8", "false"}, {"comfy_quant", "true"}, {"save_quant_metadata", "true"}};

constexpr ProfileDefault kComfyMxfp8[] = {
    {"mxfp8", "true"}, {"int8", "false"}, {"comfy_quant", "true"}, {"save_quant_metadata", "true"}};

}  // namespace

std::span<const ProfileDefault> profile_defaults(std::string_view profile) {
  if (profile == "seed") return kSeed;
  if (profile == "peer") return kPeer;
  return {};
}

std::vector<std::string> effective_defaults(const Arguments& arguments, bool learns) {
  constexpr std::string_view kTypes[] = {"int8", "fp8", "fp16", "nvfp4", "mxfp8", "format"};
  const auto is_type = [&](std::string_view key) { return std::ranges::count(kTypes, key) > 0; };
  const bool typed = std::ranges::any_of(kTypes, [&](std::string_view key) { return arguments.chosen(key); });
  std::vector<std::string> effective;
  for (const auto& [key, value] : profile_defaults(arguments.text("profile"))) {
    const auto option = std::ranges::find(arguments.options(), key, &Option::key);
    const bool idle = (typed && is_type(key)) ||
                      (!learns && (option->page == Page::kLearned || option->page == Page::kAdvanced)) ||
                      value == option->default_text;
    if (arguments.origin(key) == Origin::kProfile && !idle)
      effective.push_back(fmt::format("{} {}", option->name, value));
  }
  return effective;
}

std::span<const ProfileDefault> recipe_choices(std::string_view recipe) {
  if (recipe == "comfy-fp8") return kComfyFp8;
  if (recipe == "comfy-int8") return kComfyInt8;
  if (recipe == "comfy-nvfp4") return kComfyNvfp4;
  if (recipe == "comfy-mxfp8") return kComfyMxfp8;
  if (recipe == "comfy-w4a4") return kComfyW4a4;
  return {};
}

}  // namespace ctq::cli
