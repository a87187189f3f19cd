// A checkpoint with another library's names, seen under those that ComfyUI's modules have.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "families/foreign_names.h"
#include "model/checkpoint.h"

namespace ctq::names {

/// A model of a checkpoint whose names are another library's.
struct Foreign {
  const families::Naming* naming = nullptr;
  std::string prefix;  ///< of its tensors: "model.diffusion_model.", or empty
};

/// Nothing where the names are those that ComfyUI knows, or of no family that is known.
std::optional<Foreign> find_foreign(const model::Checkpoint& checkpoint);

/// Tensors whose name alone changes stay where they are. Those that are joined of several, or whose rows
/// change places, are computed when they are loaded. Names that the family's table lacks stay. Of a prefix
/// only what ComfyUI looks for stays. The checkpoint must outlive the view.
class RenamedView {
 public:
  /// throws  Error(kBadInput) naming the tensors: a joined one lacks a part, parts do not fit each other, two
  /// tensors get the
  ///         same name
  RenamedView(const model::Checkpoint& checkpoint, const Foreign& foreign);
  RenamedView(const RenamedView&) = delete;
  RenamedView& operator=(const RenamedView&) = delete;

  const model::Checkpoint& checkpoint() const { return checkpoint_; }
  size_t renamed() const {
    return renamed_;
  }  ///< tensors of the checkpoint that have another name, joined ones too
  size_t joined() const { return joined_; }  ///< tensors that are made of several
  /// Tensors of the checkpoint by the name here, first rows first; only what has another name.
  const std::map<std::string, std::vector<std::string>, std::less<>>& sources() const { return sources_; }

 private:
  class Made;
  struct Piece;
  void add(const std::string& name, std::vector<Piece> pieces);
  void check(const std::string& name, const std::vector<Piece>& pieces) const;
  families::Values moved(const Piece& piece) const;

  const model::Checkpoint& source_;
  std::deque<safetensors::TensorInfo> infos_;
  std::deque<std::unique_ptr<const model::Computed>> made_;
  std::vector<model::Checkpoint::Entry> entries_;
  size_t renamed_ = 0, joined_ = 0;
  std::map<std::string, std::vector<std::string>, std::less<>> sources_;
  model::Checkpoint checkpoint_;
};

}  // namespace ctq::names
