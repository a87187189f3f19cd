// The rules: what becomes of one tensor, and why.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client/loader.h"
#include "families/parts.h"
#include "model/checkpoint.h"
#include "plan/plan.h"

namespace ctq::plan {

/// Routes the tensors of one checkpoint, and remembers which patterns never matched.
class Router {
 public:
  /// parts: of the checkpoint that has these names
  Router(const Options& options, const ValueFindings& findings, std::span<const std::string> names,
         const families::Parts& parts);

  /// Decision, reason and target; outputs are left empty.
  TensorPlan route(const model::Checkpoint::Entry& entry);
  /// Sentences about what matched nothing so far.
  std::vector<std::string> unused() const;
  /// What else the user should know, one sentence each.
  std::vector<std::string> notes() const;
  /// What the user should mend, one sentence each.
  std::vector<std::string> warnings() const;
  /// What the client would misread, one sentence for each reason.
  std::vector<std::string> misread() const;

 private:
  /// Layers that a client does not read as they were to be stored, for one reason.
  struct Misread {
    size_t count = 0;
    std::string first;  ///< one of them
  };

  /// What the rules about layers say of a candidate, before its shape and values are looked at.
  struct Choice {
    std::optional<Target> target;  ///< nothing: keep it
    std::string reason;
    bool by_target = false;  ///< as TensorPlan
    bool heuristic = false;
    std::optional<bool> full_precision_matrix_mult;
  };

  /// Why a tensor is no candidate for quantization; empty when it is one.
  std::string not_a_candidate(const model::Checkpoint::Entry& entry) const;
  /// Why a candidate is below the sizes asked for; empty when it is not.
  std::string too_small(const model::Checkpoint::Entry& entry) const;
  TensorPlan decide(const model::Checkpoint::Entry& entry);
  /// A weight that stays unquantized, in the type that such weights are to have.
  TensorPlan in_kept_type(TensorPlan plan);
  /// What is no candidate, where the run's target is float16.
  TensorPlan route_to_float16(const model::Checkpoint::Entry& entry);
  /// A convolution, where Options::quantize_convolutions.
  TensorPlan route_convolution(const model::Checkpoint::Entry& entry);
  TensorPlan route_candidate(const model::Checkpoint::Entry& entry);
  Choice choose(const model::Checkpoint::Entry& entry);
  Choice follow(const LayerRule& rule) const;
  TensorPlan keep(const model::Checkpoint::Entry& entry, std::string reason) const;
  TensorPlan fit_to_shape(TensorPlan plan, bool heuristic);
  TensorPlan fit_rotation(TensorPlan plan);
  /// Keeps what was found not to fit its format.
  TensorPlan fit_to_values(TensorPlan plan) const;
  /// The most specific entry of the layer configuration that matches; null when none does.
  const LayerRule* configured(std::string_view layer);
  /// Why filters leave a candidate out; nothing when they do not.
  /// overruled: a rule takes the layer, whatever this says
  std::optional<std::string> excluded(const std::string& name, bool overruled = false);
  /// Why the family of its part leaves it out; nothing when it does not, or families are not asked.
  std::optional<std::string> kept_by_family(const std::string& name);
  /// The preset and pattern that drop the tensor from the output.
  std::optional<families::PresetHit> removed(const std::string& name);
  /// Whether the client is no program in particular.
  bool writes_all() const;
  /// Keeps what the client would not read.
  TensorPlan fit_to_client(TensorPlan plan);
  /// The client that a codec is for: the one that was asked for, or the one that the format implies.
  client::Client client_for(const format::Codec& codec, client::Scales scales) const;

  const Options& options_;
  const ValueFindings& findings_;
  const families::Parts& parts_;
  families::ActivePresets presets_;
  /// A type by the name, where Options::kept_type is another.
  struct TypeByName {
    safetensors::Dtype type;
    Pattern names;
  };
  std::vector<TypeByName> types_;
  std::map<const families::Part*, families::ActivePresets> of_families_;
  std::map<std::string, Misread> misread_;  // by the reason
  size_t outside_ = 0;                      // weights that the automatic detection keeps
  std::vector<bool> entry_used_;            // by the layer configuration's entries
  bool custom_used_ = false;
  bool exclude_used_ = false, exclude_decides_ = false;
  bool heuristic_used_ = false;
  bool recast_ = false;
  bool table_used_ = false, convolution_used_ = false;
  bool keep_used_ = false, remove_used_ = false;  ///< Options::keep_containing, remove_containing
  size_t not_rotated_ = 0;
  size_t banks_not_rotated_ = 0;
  size_t fallbacks_ = 0;        // layers with scales per row in place of what they do not fit
  std::string first_fallback_;  // one of them
};

}  // namespace ctq::plan
