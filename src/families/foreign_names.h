// Names that other programs and libraries give a model's layers, and the names that ComfyUI's modules have.
// One table per family serves whole models (names/renamed_view.h) and adapters (lora/match.h).
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ctq::families {

/// How the values of a foreign tensor become those of ours.
enum class Values : uint8_t {
  kSame,
  kHalvesSwapped,       ///< the two halves of its rows change places: scale and shift
  kHalvesOfTwoSwapped,  ///< the same where the layer makes two vectors as wide as its input, and not six
  kFlat,                ///< one dimension
  kTransposed,          ///< of a bank of experts: the last two dimensions change places
};

/// A row of a table. In a pattern '#' is a number and a '*' at the end any rest; ours has them in the same
/// order.
struct ForeignName {
  std::string_view foreign;  ///< a layer, whose tensors keep their last word (".weight"); or a tensor
  std::string_view own;      ///< the same
  uint8_t part = 0;          ///< of the layers whose rows follow one another in ours, from 0
  uint8_t parts = 1;         ///< how many those are
  Values values = Values::kSame;
};

/// What a name stands for.
struct OwnName {
  std::string name;
  uint8_t part = 0;
  uint8_t parts = 1;
  Values values = Values::kSame;
};

/// The rows of one family, for look-ups.
class NameMap {
 public:
  NameMap() = default;
  explicit NameMap(std::span<const ForeignName> rows);
  void add(std::string foreign, std::string own);

  /// Rows that the name fits, in the table's order. For whole models there is one at most.
  std::vector<OwnName> find(std::string_view name) const;
  /// The same where '_' stands for '.' in the name, and in what is returned. A row about a tensor ".weight"
  /// is one about its layer here.
  std::vector<OwnName> find_flat(std::string_view name) const;

 private:
  struct Row {
    std::string foreign, own, flat_foreign = {}, flat_own = {};
    uint8_t part = 0, parts = 1;
    Values values = Values::kSame;
  };
  std::vector<Row> rows_;
};

/// The names that a library gives the layers of one family.
struct Naming {
  std::string_view title;                 ///< "Flux.1"
  std::string_view source = "diffusers";  ///< whose names they are
  std::array<std::string_view, 4> all =
      {};  ///< runs of whole dotted parts of which each begins some name of a model
  std::array<std::string_view, 4> none = {};  ///< ... none begins any
  std::span<const ForeignName> rows;
  bool whole_models = true;  ///< the rows name all that a model has; else they are those that adapters change
  /// Where rows depend on the model; names: of a model under either program's names. Null: `rows` are all.
  NameMap (*make)(std::span<const std::string> names) = nullptr;

  NameMap map(std::span<const std::string> names) const { return make ? make(names) : NameMap(rows); }
};

/// All of them. The first that fits a model decides.
std::span<const Naming* const> namings();

/// The naming of a whole model by its tensors' names, sorted by bytes and without the prefix that they may
/// have in a file. Null where it is none that needs other names.
const Naming* naming_of(std::span<const std::string> names);

}  // namespace ctq::families
