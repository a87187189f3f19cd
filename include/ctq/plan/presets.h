// Layer presets: which tensors of a model family stay unquantized. Data compiled in (src/plan/presets_data.cpp).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ctq::plan {

/// Which variant of a preset to use where the seed's and the peer's lists differ.
enum class FilterSet : uint8_t { kSeed, kPeer, kUnion };

/// Case-sensitive substrings of the full tensor name.
struct PatternLists {
  std::span<const std::string_view> exclude;
  std::span<const std::string_view> highprec;
  std::span<const std::string_view> remove;
};

struct Preset {
  std::string_view name;      ///< the switch is --<name>
  std::string_view help;      ///< one line
  std::string_view category;  ///< key of preset_categories()
  bool from_seed = false;     ///< in a seed (else only in the peer); decides the default variant
  bool text_encoder = false;
  std::string_view alias_for; ///< another preset under an old name; empty otherwise
  bool exclude_final_language_layer = false;
  std::optional<PatternLists> seed;
  std::optional<PatternLists> peer;
};

struct PresetCategory {
  std::string_view key;      ///< "text"
  std::string_view heading;  ///< "Text Encoders"
};

/// In the order in which they are printed and tested.
std::span<const Preset> presets();
/// In the order of the filters help page: text, diffusion, video, image.
std::span<const PresetCategory> preset_categories();
/// Null when there is no preset of that name.
const Preset* find_preset(std::string_view name);

/// What an active preset does to one tensor name.
struct PresetHit {
  std::string preset;
  std::string pattern;
  std::string list;  ///< "exclude" or "highprec"
};

/// The active presets, resolved against the names of a checkpoint. Counts what hit, so that unused presets can be named.
class ActivePresets {
 public:
  /// names       presets in any order; they are tested in registry order
  /// tensor_names  all names of the checkpoint (the last language layer depends on them)
  ActivePresets(std::span<const std::string> names, FilterSet set, std::span<const std::string> tensor_names);

  bool empty() const { return active_.empty(); }
  /// First hit in registry order, `exclude` before `highprec`. For candidates only.
  std::optional<PresetHit> protects(std::string_view tensor_name);
  /// The preset and pattern that drop the tensor from the output, whatever its rank.
  std::optional<PresetHit> removes(std::string_view tensor_name);
  /// Presets that neither protected nor removed anything so far.
  std::vector<std::string> unused() const;

 private:
  struct Active {
    const Preset* preset;
    std::vector<std::string> exclude, highprec, remove;
    bool used = false;
  };
  std::vector<Active> active_;
};

/// The preset that suits a checkpoint with these tensor names, judged by names that only that family has; empty when none is certain.
std::string_view recognise_preset(std::span<const std::string> tensor_names);

}  // namespace ctq::plan
