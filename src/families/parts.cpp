#include "families/parts.h"

#include <algorithm>
#include <array>
#include <map>

#include "families/foreign_names.h"

namespace ctq::families {
namespace {

using Names = std::span<const std::string>;

/// Prefixes under which programs put the parts of a whole checkpoint.
struct KnownPrefix {
  std::string_view text;
  Kind kind;
};

constexpr KnownPrefix kKnownPrefixes[] = {
    {"model.diffusion_model.", Kind::kDiffusion},
    {"model_ema.", Kind::kAverage},
    {"first_stage_model.", Kind::kVae},
    {"vae.", Kind::kVae},
    {"audio_vae.", Kind::kVae},
    {"vocoder.", Kind::kVae},
    {"cond_stage_model.", Kind::kTextEncoder},
    {"conditioner.", Kind::kTextEncoder},
    {"text_encoders.", Kind::kTextEncoder},
    {"text_encoder.", Kind::kTextEncoder},
    {"text_encoder_2.", Kind::kTextEncoder},
    {"detector.backbone.language_backbone.encoder.", Kind::kTextEncoder},
    {"control_model.", Kind::kControl},
    {"pretransform.", Kind::kVae},
    {"conditioner.embedders.1.encoder.", Kind::kVae},
    {"clip_l_vision.", Kind::kVision},
    {"embedder.model.visual.", Kind::kVision},
    {"cond_stage_model.model.visual.", Kind::kVision},
    {"conditioner.embedders.0.open_clip.model.visual.", Kind::kVision},
    {"conditioner.main_image_encoder.", Kind::kVision},
};

/// Parts of names that only adapters have.
constexpr std::array<std::string_view, 8> kAdapterParts = {"lora_A",    "lora_B",  "lora_up",   "lora_down",
                                                           "hada_w1_a", "lokr_w1", "lokr_w1_a", "oft_blocks"};

/// Whether some name begins with `prefix` + `run`, a run of whole dotted parts.
bool begins(Names names, const std::string& prefix, std::string_view run) {
  const std::string start = prefix + std::string(run);
  for (auto at = std::ranges::lower_bound(names, start); at != names.end() && at->starts_with(start); ++at) {
    if (at->size() == start.size() || (*at)[start.size()] == '.') return true;
  }
  return false;
}

bool has_size(Names names, const ShapeOf& shape_of, const std::string& prefix, const Size& size) {
  const std::string tensor = prefix + std::string(size.tensor);
  if (!shape_of || !std::ranges::binary_search(names, tensor)) return false;
  const std::vector<int64_t> shape = shape_of(tensor);
  return size.dimension < shape.size() && shape[size.dimension] == size.size;
}

bool suits(Names names, const ShapeOf& shape_of, const std::string& prefix, const Signature& signature) {
  const auto there = [&](std::string_view run) { return !run.empty() && begins(names, prefix, run); };
  if (signature.size && !has_size(names, shape_of, prefix, *signature.size)) return false;
  return std::ranges::all_of(signature.all,
                             [&](std::string_view run) { return run.empty() || there(run); }) &&
         std::ranges::none_of(signature.none, there);
}

/// What stands before the run of parts in names that hold it.
std::vector<std::string> prefixes_of(Names names, std::string_view run) {
  std::vector<std::string> prefixes;
  for (const std::string& name : names) {
    for (size_t at = name.find(run); at != std::string::npos; at = name.find(run, at + 1)) {
      const size_t end = at + run.size();
      if ((at != 0 && name[at - 1] != '.') || (end != name.size() && name[end] != '.')) continue;
      if (std::string prefix = name.substr(0, at); std::ranges::find(prefixes, prefix) == prefixes.end())
        prefixes.push_back(std::move(prefix));
    }
  }
  return prefixes;
}

bool known_prefix(std::string_view prefix) {
  return std::ranges::any_of(kKnownPrefixes,
                             [&](const KnownPrefix& known) { return prefix.starts_with(known.text); });
}

/// Finds the parts of known families, then those that only their prefix tells.
class Search {
 public:
  Search(Names names, const ShapeOf& shape_of) : names_(names), shape_of_(shape_of) {}

  std::map<std::string, Part> run() {
    for (const Family* family : families()) {
      for (const Signature& signature : family->signatures) claim(*family, signature);
    }
    const std::map<std::string, Part> found = parts_;
    for (const KnownPrefix& known : kKnownPrefixes) {
      const std::string prefix(known.text);
      if (has_others(prefix, found)) parts_.try_emplace(prefix, Part{.prefix = prefix, .kind = known.kind});
    }
    if (parts_.empty()) parts_.try_emplace("", Part{});
    return std::move(parts_);
  }

 private:
  void claim(const Family& family, const Signature& signature) {
    for (const std::string& prefix : prefixes_of(names_, signature.all.front())) {
      if (inside_another(prefix) || !suits(names_, shape_of_, prefix, signature)) continue;
      parts_.try_emplace(prefix, Part{.prefix = prefix, .kind = family.kind, .family = &family});
    }
  }

  /// Whether a name with the prefix belongs to none of the parts.
  bool has_others(const std::string& prefix, const std::map<std::string, Part>& parts) const {
    for (auto at = std::ranges::lower_bound(names_, prefix); at != names_.end() && at->starts_with(prefix);
         ++at) {
      const auto owns = [&](const auto& part) {
        return part.first.size() > prefix.size() && at->starts_with(part.first);
      };
      if (std::ranges::none_of(parts, owns)) return true;
    }
    return false;
  }

  /// A vision tower is a part of its language model, not a model beside it.
  bool inside_another(const std::string& prefix) const {
    return std::ranges::any_of(parts_, [&](const auto& part) {
      return prefix.starts_with(part.first) && !(part.first.empty() && known_prefix(prefix));
    });
  }

  Names names_;
  const ShapeOf& shape_of_;
  std::map<std::string, Part> parts_;
};

}  // namespace

bool in_block(std::string_view layer) {
  bool number = false;
  while (!layer.empty()) {
    const size_t dot = std::min(layer.find('.'), layer.size());
    const std::string_view part = layer.substr(0, dot);
    const bool digits = !part.empty() && part.find_first_not_of("0123456789") == std::string_view::npos;
    if (number && !digits) return true;
    number = digits;
    layer.remove_prefix(std::min(dot + 1, layer.size()));
  }
  return false;
}

Parts::Parts(Names names, const ShapeOf& shape_of) {
  for (auto& [prefix, part] : Search(names, shape_of).run()) parts_.push_back(std::move(part));
  const auto belongs = [&](const std::string& name) {
    return std::ranges::any_of(parts_, [&](const Part& part) { return name.starts_with(part.prefix); });
  };
  if (!std::ranges::all_of(names, belongs)) parts_.insert(parts_.begin(), Part{});
  std::vector<std::vector<std::string>> of_parts(parts_.size());
  for (const std::string& name : names) {
    const size_t index = index_of(name);
    Part& part = parts_[index];
    of_parts[index].push_back(name.substr(part.prefix.size()));
    const std::string_view rest = std::string_view(name).substr(part.prefix.size());
    const size_t last = rest.rfind('.');
    part.numbered |= last != std::string_view::npos && in_block(rest.substr(0, last));
    adapter_ |= std::ranges::any_of(
        kAdapterParts, [&](std::string_view word) { return name.find(word) != std::string::npos; });
  }
  for (size_t i = 0; i < parts_.size(); ++i) {
    const Family* family = parts_[i].family;
    parts_[i].renamed = (family && family->diffusers_names) || naming_of(of_parts[i]);
  }
}

size_t Parts::index_of(std::string_view tensor) const {
  size_t best = 0, longest = 0;
  for (size_t i = 0; i < parts_.size(); ++i) {
    const std::string& prefix = parts_[i].prefix;
    if (tensor.starts_with(prefix) && prefix.size() >= longest) best = i, longest = prefix.size();
  }
  return best;
}

const Part& Parts::of(std::string_view tensor) const { return parts_[index_of(tensor)]; }

const Part* Parts::diffusion() const {
  const auto found = std::ranges::find(parts_, Kind::kDiffusion, &Part::kind);
  return found == parts_.end() ? nullptr : &*found;
}

bool Parts::is_bank(std::string_view layer) const {
  const Part& part = of(layer);
  return part.family && !fitting(part.family->comfyui.banks, layer.substr(part.prefix.size())).empty();
}

bool Parts::inside_checkpoint(const Part& encoder) const {
  return encoder.kind == Kind::kTextEncoder && known_prefix(encoder.prefix) &&
         std::ranges::any_of(parts_, [](const Part& part) {
           return part.kind == Kind::kDiffusion || part.kind == Kind::kOther;
         });
}

const Part* Parts::main() const {
  const auto recognised = [](const Part& part) { return part.family != nullptr; };
  if (const Part* model = diffusion()) return recognised(*model) ? model : nullptr;
  const bool alone = std::ranges::all_of(
      parts_, [&](const Part& part) { return recognised(part) || part.kind == Kind::kOther; });
  if (!alone || std::ranges::count_if(parts_, recognised) != 1) return nullptr;
  return &*std::ranges::find_if(parts_, recognised);
}

}  // namespace ctq::families
