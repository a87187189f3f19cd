// Layer presets: which tensors of a model family stay unquantized. The lists of a family stand in its file.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ctq::families {

/// Which variant of a preset to use where the seed's and the peer's lists differ.
enum class FilterSet : uint8_t { kSeed, kPeer, kUnion };

/// Case-sensitive substrings of the full tensor name.
struct PatternLists {
  std::span<const std::string_view> exclude = {};
  std::span<const std::string_view> highprec = {};
  std::span<const std::string_view> remove = {};

  bool empty() const { return exclude.empty() && highprec.empty() && remove.empty(); }
};

/// Where --output-dtype is given, protected tensors whose names the regular expression finds get this dtype
/// ("float32") instead, but never a wider one than they had.
struct PreservedDtype {
  std::string_view dtype;
  std::string_view expression;
};

struct Preset {
  std::string_view name;      ///< the switch is --<name>
  std::string_view help;      ///< one line
  std::string_view category;  ///< key of preset_categories()
  bool from_seed = false;     ///< in a seed (else only in the peer); decides the default variant
  bool text_encoder = false;
  std::string_view alias_for = {};  ///< the preset that this is an old name of, which has the lists; or empty
  bool exclude_final_language_layer = false;
  std::span<const PreservedDtype> preserve_dtype = {};
  std::optional<PatternLists> seed = {};
  std::optional<PatternLists> peer = {};
  std::optional<PatternLists> ours =
      {};  ///< whichever set is chosen: what both lack, and families that they do not know

  /// Whether some variant of it has a pattern; an alias has those of its target.
  bool has_patterns() const {
    const auto some = [](const std::optional<PatternLists>& lists) { return lists && !lists->empty(); };
    return !alias_for.empty() || some(seed) || some(peer) || some(ours);
  }
};

struct PresetCategory {
  std::string_view key;      ///< "text"
  std::string_view heading;  ///< "Text Encoders"
};

/// In the order in which they are printed and tested.
std::span<const Preset* const> presets();
/// In the order of the filters help page: text, diffusion, video, image.
std::span<const PresetCategory> preset_categories();
/// Null when there is no preset of that name.
const Preset* find_preset(std::string_view name);

/// What an active preset does to one tensor name.
struct PresetHit {
  std::string preset;  ///< as it was asked for, so an alias keeps its name
  std::string pattern;
  std::string list;  ///< "exclude", "highprec" or "remove"
};

/// The active presets, resolved against the names of a checkpoint. Notes what hit, to name unused presets.
class ActivePresets {
 public:
  /// names         presets in any order, tested in registry order; an alias beside its target counts once
  /// tensor_names  all names of the checkpoint (the last language layer depends on them)
  /// throws        Error(kUsage) when there is no preset of a name
  ActivePresets(std::span<const std::string> names, FilterSet set, std::span<const std::string> tensor_names);

  bool empty() const { return active_.empty(); }
  /// First hit in registry order, `exclude` before `highprec`. For candidates only.
  std::optional<PresetHit> protects(std::string_view tensor_name);
  /// The preset and pattern that drop the tensor from the output, whatever its rank.
  std::optional<PresetHit> removes(std::string_view tensor_name);
  /// Presets with patterns of which none hit so far, even behind another preset's hit.
  std::vector<std::string> unused() const;

 private:
  struct Active {
    const Preset* preset;  ///< as asked for; the lists are its target's when it is an alias
    std::vector<std::string> exclude, highprec, remove;
    bool used = false;
  };
  std::vector<Active> active_;
};

}  // namespace ctq::families
