// The rows.
#include <algorithm>
#include <iterator>
#include <vector>

#include "rows.h"

namespace ctq::families {
namespace {

// A family that adds to another's names stands before it: what steers a model before the model, encoders in
// ComfyUI's own order, and last what says little by its names.
constexpr const Family* kFamilies[] = {
    &kControlModel,
    &kFlux2,
    &kFlux,
    &kOvisImage,
    &kChromaRadiance,
    &kChroma,
    &kHunyuanVideo15,
    &kHunyuanVideo,
    &kHunyuanImage,
    &kHunyuan3d,
    &kLongcatImage,
    &kWan,
    &kMinimaxH3,
    &kLtx2,
    &kLtx2Other,
    &kLtxv,
    &kAnima,
    &kCosmos,
    &kCosmosPredict2,
    &kBoogu,
    &kOmnigen2,
    &kZimagePixel,
    &kLumina2,
    &kZimage,
    &kPid,
    &kPixeldit,
    &kLens,
    &kQwenImage,
    &kMageFlow,
    &kJoyimage,
    &kIdeogram4,
    &kKrea2,
    &kKandinsky5,
    &kErnieImage,
    &kHidream,
    &kHidreamO1,
    &kHunyuan3d21,
    &kMochi,
    &kCogvideox,
    &kSeedvr2,
    &kSdX4,
    &kSvd,
    &kSd15,
    &kSdxl,
    &kCascadeC,
    &kCascadeB,
    &kSd3,
    &kAuraflow,
    &kPixart,
    &kHunyuanDit,
    &kMinimaxMusic3,
    &kStableAudio,
    &kAceStep,
    &kAceStep15,
    &kTriposplat,
    &kTrellis2,
    &kRtDetr,
    &kDepthAnything3,
    &kSam3,
    &kAuraflowDiffusers,
    &kPixartDiffusers,
    &kZimageDiffusers,
    &kFluxDiffusers,
    &kSd3Diffusers,
    &kUnetDiffusers,
    // Text encoders.
    &kT5Xl,
    &kT5,
    &kByT5,
    &kT5Base,
    &kT5Gemma,
    &kGptOss,
    &kMinimaxMusic,
    &kGemma4,
    &kGemma4Large,
    &kGemma3,
    &kGemma2,
    &kQwen35,
    &kQwen3Vl,
    &kQwen25Vl,
    &kQwen25,
    &kMistral,
    &kQwen3,
    &kLlama,
    &kJinaClip,
    &kBert,
    &kLtx2Projection,
    // The rest.
    &kStyleModel,
    &kGligen,
    &kIpAdapter,
    &kClipVision,
    &kClip,
    &kDino,
    &kAudioEncoder,
    &kMinimaxH3Vae,
    &kVae,
};

// As the help page prints them.
constexpr const Preset* kPresets[] = {
    &kT5xxlPreset,
    &kMistralPreset,
    &kVisualPreset,
    &kFlux2Preset,
    &kDistillationLargePreset,
    &kDistillationSmallPreset,
    &kNerfLargePreset,
    &kNerfSmallPreset,
    &kRadiancePreset,
    &kWanPreset,
    &kHunyuanPreset,
    &kQwenPreset,
    &kZimagePreset,
    &kZimageRefinerPreset,
    &kLoraPreset,
    &kGemma4Preset,
    &kQwenVlmPreset,
    &kQwen35Preset,
    &kGenericTextPreset,
    &kAnimaPreset,
    &kLensPreset,
    &kKrea2Preset,
    &kIdeogram4Preset,
    &kMinimaxh3Preset,
    &kBooguPreset,
    &kLtxv2Preset,
    &kFluxPreset,
    &kSd15Preset,
    &kSdxlPreset,
    &kSvdPreset,
    &kCascadePreset,
    &kSd3Preset,
    &kAuraflowPreset,
    &kPixartPreset,
    &kHunyuanDitPreset,
    &kMochiPreset,
    &kLtxvPreset,
    &kHunyuanVideoPreset,
    &kHunyuanImagePreset,
    &kCosmosPreset,
    &kPixelditPreset,
    &kCogvideoxPreset,
    &kSeedvr2Preset,
    &kHunyuan3dPreset,
    &kHidreamPreset,
    &kHidreamO1Preset,
    &kOmnigen2Preset,
    &kJoyimagePreset,
    &kKandinsky5Preset,
    &kErnieImagePreset,
    &kStableAudioPreset,
    &kAceStepPreset,
    &kAceStep15Preset,
};

constexpr PresetCategory kCategories[] = {
    {"text", "Text Encoders"},
    {"diffusion", "Diffusion Models (Flux-style)"},
    {"video", "Video Models"},
    {"image", "Image Models"},
};

}  // namespace

std::span<const Family* const> families() { return kFamilies; }

std::span<const Structure* const> structures() {
  static const std::vector<const Structure*> all = [] {
    std::vector<const Structure*> found;
    for (const Family* family : kFamilies) {
      for (const Structure* structure : family->structures) {
        if (structure && std::ranges::find(found, structure) == found.end()) found.push_back(structure);
      }
    }
    return found;
  }();
  return all;
}

int64_t head_size(int64_t hidden_size, int64_t values_size) {
  for (const Family* family : kFamilies) {
    for (const HeadSize& known : family->heads) {
      if (known.hidden_size == hidden_size && known.values_size == values_size) return known.head_size;
    }
  }
  return 0;
}

std::span<const Preset* const> presets() { return kPresets; }

std::span<const PresetCategory> preset_categories() { return kCategories; }

const Family* find_family(std::string_view name) {
  const auto* found = std::ranges::find(kFamilies, name, &Family::name);
  return found == std::end(kFamilies) ? nullptr : *found;
}

}  // namespace ctq::families
