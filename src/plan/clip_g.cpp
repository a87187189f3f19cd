#include "plan/clip_g.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "base/text.h"
#include "refusal.h"

namespace ctq::plan {
namespace {

using Entry = model::Checkpoint::Entry;
using safetensors::Dtype;

struct RoleName {
  std::string_view open_clip;
  std::string_view transformers;
  ClipGRole role;
};
constexpr std::array kRoleNames{
    RoleName{"attn.in_proj_weight", "", ClipGRole::kFusedWeight},
    RoleName{"attn.in_proj_bias", "", ClipGRole::kFusedBias},
    RoleName{"attn.q_proj.weight", "self_attn.q_proj.weight", ClipGRole::kQuery},
    RoleName{"attn.k_proj.weight", "self_attn.k_proj.weight", ClipGRole::kKey},
    RoleName{"attn.v_proj.weight", "self_attn.v_proj.weight", ClipGRole::kValue},
    RoleName{"attn.out_proj.weight", "self_attn.out_proj.weight", ClipGRole::kAttentionOut},
    RoleName{"mlp.c_fc.weight", "mlp.fc1.weight", ClipGRole::kMlpIn},
    RoleName{"mlp.c_proj.weight", "mlp.fc2.weight", ClipGRole::kMlpOut},
};

constexpr std::string_view kOpenClipPrefix = "transformer.resblocks.";
constexpr std::string_view kTransformersPrefix = "text_model.encoder.layers.";
constexpr std::string_view kFusedName = "attn.in_proj_weight";

/// A third of a fused tensor.
struct Third {
  std::string_view word;
  ClipGRole role;
};
constexpr std::array kThirds{Third{"q", ClipGRole::kQuery}, Third{"k", ClipGRole::kKey},
                             Third{"v", ClipGRole::kValue}};

/// The whole text as a number.
std::optional<int64_t> number(std::string_view text) {
  int64_t value = 0;
  const auto [stop, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = fault == std::errc() && stop == text.data() + text.size() && !text.starts_with('-');
  return whole ? std::optional(value) : std::nullopt;
}

/// Rows of a third.
/// throws  Error(kBadInput) where there is none
int64_t rows_of_third(const Entry& fused, ClipGRole role) {
  const std::vector<int64_t>& shape = fused.info->shape;
  const size_t rank = role == ClipGRole::kFusedWeight ? 2 : 1;
  if (shape.size() != rank || shape[0] % 3 != 0) {
    fail(ErrorCode::kBadInput, "{}: '{}' of shape {} does not hold q, k and v: rows must be a multiple of 3",
         fused.file->path(), printable(fused.name()), shape_text(shape));
  }
  return shape[0] / 3;
}

int64_t last_block_of(const model::Checkpoint& checkpoint) {
  int64_t last = -1;
  for (const Entry& entry : checkpoint.entries()) {
    if (const auto name = parse_clip_g_name(entry.name())) last = std::max(last, name->block);
  }
  if (last < 0) {
    fail(ErrorCode::kBadInput,
         "{}: no text encoder of OpenCLIP: no tensor is named transformer.resblocks.<N>.* or "
         "text_model.encoder.layers.<N>.*",
         checkpoint.path());
  }
  return last;
}

class Planner {
 public:
  Planner(const ClipGOptions& options, const ClipGFindings& findings, ClipGPlan& plan)
      : options_(options), findings_(findings), plan_(plan) {}

  ClipGTensor decide(const Entry& entry) const {
    const auto name = parse_clip_g_name(entry.name());
    if (!name) return whole(entry, "outside the blocks");
    if (name->block == plan_.last_block) return whole(entry, "the last block");
    if (plan_.kept_blocks.contains(name->block)) return whole(entry, "kept block");
    const bool fused = name->role == ClipGRole::kFusedWeight || name->role == ClipGRole::kFusedBias;
    if (options_.split && fused) return split(entry, *name);
    return {&entry, {part(entry, entry.name(), entry.info->shape, 0, name->role)}};
  }

 private:
  ClipGTensor whole(const Entry& entry, std::string reason) const {
    return {&entry,
            {{.info = info(entry.name(), kept_type(entry, entry.name()), entry.info->shape),
              .first_row = 0,
              .fp8 = false,
              .reason = std::move(reason)}}};
  }

  ClipGTensor split(const Entry& fused, const ClipGName& name) const {
    ClipGTensor tensor{&fused, {}};
    std::vector<int64_t> shape = fused.info->shape;
    shape[0] = rows_of_third(fused, name.role);
    const bool weight = name.role == ClipGRole::kFusedWeight;
    for (const Third& third : kThirds) {
      const auto first_row = static_cast<int64_t>(tensor.parts.size()) * shape[0];
      tensor.parts.push_back(part(fused, name_of_third(name.block, third.word, weight ? "weight" : "bias"),
                                  shape, first_row, weight ? third.role : ClipGRole::kOther));
    }
    return tensor;
  }

  std::string name_of_third(int64_t block, std::string_view third, std::string_view role) const {
    return options_.split_names == SplitNames::kOpenClip
               ? fmt::format("{}{}.attn.{}_proj.{}", kOpenClipPrefix, block, third, role)
               : fmt::format("{}{}.self_attn.{}_proj.{}", kTransformersPrefix, block, third, role);
  }

  static safetensors::TensorInfo info(std::string name, Dtype dtype, std::vector<int64_t> shape) {
    safetensors::TensorInfo made;
    made.name = std::move(name), made.dtype = dtype, made.shape = std::move(shape);
    return made;
  }

  ClipGPart part(const Entry& source, std::string name, std::vector<int64_t> shape, int64_t first_row,
                 ClipGRole role) const {
    auto [fp8, reason] = wanted(role);
    if (fp8 && (shape.size() != 2 || !safetensors::is_float(source.info->dtype)))
      fp8 = false, reason = "not a float matrix";
    if (const auto found = findings_.no_fp8.find(name); fp8 && found != findings_.no_fp8.end())
      fp8 = false, reason = found->second;
    const Dtype dtype = fp8 ? Dtype::kF8E4M3 : kept_type(source, name);
    return {.info = info(std::move(name), dtype, std::move(shape)),
            .first_row = first_row,
            .fp8 = fp8,
            .reason = std::move(reason)};
  }

  /// Of what does not become FP8.
  Dtype kept_type(const Entry& source, const std::string& name) const {
    const Dtype stored = source.info->dtype;
    return safetensors::is_float(stored) && !findings_.no_float16.contains(name) ? Dtype::kF16 : stored;
  }

  std::pair<bool, std::string> wanted(ClipGRole role) const {
    switch (role) {
      case ClipGRole::kMlpIn:
      case ClipGRole::kMlpOut: return {true, "MLP"};
      case ClipGRole::kAttentionOut: return {options_.attention_out_fp8, "attention output"};
      case ClipGRole::kFusedWeight:
        if (options_.fused_fp8 && options_.scaled) {
          fail(ErrorCode::kUsage,
               "a fused attn.in_proj_weight cannot have a scale, which loaders seek beside names in "
               "'.weight': "
               "add --split-attn-qkv, or leave out --in-proj-fp8 or --fp8-scale");
        }
        return {options_.fused_fp8, "fused q, k and v"};
      case ClipGRole::kQuery: return {options_.split ? options_.split->query_fp8 : options_.fused_fp8, "q"};
      case ClipGRole::kKey:
      case ClipGRole::kValue:
        return {options_.split ? options_.split->key_value_fp8 : options_.fused_fp8, "k or v"};
      case ClipGRole::kFusedBias:
      case ClipGRole::kOther: break;
    }
    return {false, "neither attention nor MLP weight"};
  }

  const ClipGOptions& options_;
  const ClipGFindings& findings_;
  const ClipGPlan& plan_;
};

std::string_view label(ClipGRole role) {
  switch (role) {
    case ClipGRole::kQuery: return "attn.q_proj";
    case ClipGRole::kKey: return "attn.k_proj";
    case ClipGRole::kValue: return "attn.v_proj";
    case ClipGRole::kAttentionOut: return "attn.out_proj";
    case ClipGRole::kMlpIn: return "MLP.c_fc";
    case ClipGRole::kMlpOut: return "MLP.c_proj";
    default: return "";
  }
}

}  // namespace

std::optional<ClipGName> parse_clip_g_name(std::string_view name) {
  for (const bool open_clip : {true, false}) {
    const std::string_view prefix = open_clip ? kOpenClipPrefix : kTransformersPrefix;
    if (!name.starts_with(prefix)) continue;
    const size_t dot = name.find('.', prefix.size());
    if (dot == std::string_view::npos) return std::nullopt;
    const auto block = number(name.substr(prefix.size(), dot - prefix.size()));
    if (!block) return std::nullopt;
    const std::string_view rest = name.substr(dot + 1);
    const auto row =
        std::ranges::find(kRoleNames, rest, open_clip ? &RoleName::open_clip : &RoleName::transformers);
    return ClipGName{*block, row == kRoleNames.end() ? ClipGRole::kOther : row->role};
  }
  return std::nullopt;
}

bool is_clip_g(const model::Checkpoint& checkpoint) {
  return std::ranges::any_of(checkpoint.entries(),
                             [](const Entry& entry) { return parse_clip_g_name(entry.name()).has_value(); });
}

std::vector<Block> clip_g_blocks(const model::Checkpoint& checkpoint) {
  last_block_of(checkpoint);
  refuse_quantized(checkpoint, "start from the original, unquantized file");
  std::map<int64_t, std::map<ClipGRole, BlockWeight>> found;
  for (const Entry& entry : checkpoint.entries()) {
    const auto name = parse_clip_g_name(entry.name());
    if (!name) continue;
    std::map<ClipGRole, BlockWeight>& block = found[name->block];
    const auto add = [&](ClipGRole role, int64_t first_row, int64_t rows) {
      const bool third = role == ClipGRole::kQuery || role == ClipGRole::kKey || role == ClipGRole::kValue;
      block[role] = {.name = std::string(label(role)),
                     .source = &entry,
                     .first_row = first_row,
                     .rows = rows,
                     .fused = third ? std::string(kFusedName) : ""};
    };
    if (name->role == ClipGRole::kFusedWeight) {
      const int64_t rows = rows_of_third(entry, name->role);
      for (size_t third = 0; third < kThirds.size(); ++third)
        add(kThirds[third].role, static_cast<int64_t>(third) * rows, rows);
    } else if (!label(name->role).empty() && entry.info->shape.size() == 2 &&
               safetensors::is_float(entry.info->dtype)) {
      add(name->role, 0, entry.info->shape[0]);
    }
  }
  std::vector<Block> blocks;
  for (auto& [index, weights] : found) {
    Block& block = blocks.emplace_back();
    block.index = index;
    for (auto& [role, weight] : weights) block.weights.push_back(std::move(weight));
  }
  return blocks;
}

BlockList BlockList::parse(std::string_view text) {
  const auto refuse = [&] {
    fail(ErrorCode::kUsage, "not a number of blocks or a list such as 0-3,9 (got '{}')", printable(text));
  };
  BlockList list;
  if ((list.first_ = number(text))) return list;
  for (size_t at = 0; at <= text.size();) {
    const size_t comma = std::min(text.find(',', at), text.size());
    const std::string_view part = text.substr(at, comma - at);
    const size_t dash = part.find('-');
    const auto from = number(part.substr(0, dash));
    const auto to = dash == std::string_view::npos ? from : number(part.substr(dash + 1));
    if (!from || !to || *from > *to || *to > 9999) refuse();
    for (int64_t index = *from; index <= *to; ++index) list.listed_.insert(index);
    at = comma + 1;
  }
  return list;
}

std::set<int64_t> BlockList::among(int64_t last) const {
  std::set<int64_t> blocks = listed_;
  if (first_ && *first_ > last) {
    fail(ErrorCode::kUsage, "the last block is {} (got '{}')", last, *first_);
  }
  for (int64_t index = 0; index < first_.value_or(0); ++index) blocks.insert(index);
  if (!blocks.empty() && *blocks.rbegin() > last)
    fail(ErrorCode::kUsage, "the last block is {} (got '{}')", last, *blocks.rbegin());
  return blocks;
}

size_t ClipGPlan::fp8_count() const {
  size_t count = 0;
  for (const ClipGTensor& tensor : tensors)
    count += static_cast<size_t>(std::ranges::count(tensor.parts, true, &ClipGPart::fp8));
  return count;
}

size_t ClipGPlan::split_blocks() const {
  return static_cast<size_t>(std::ranges::count_if(tensors, [](const ClipGTensor& tensor) {
    return tensor.is_split() && tensor.parts.front().info.shape.size() == 2;
  }));
}

size_t ClipGPlan::expected_tensors() const {
  const auto split = std::ranges::count_if(tensors, &ClipGTensor::is_split);
  return tensors.size() + 2 * static_cast<size_t>(split) + (scaled ? 2 * fp8_count() : 0);
}

ClipGPlan plan_clip_g(const model::Checkpoint& checkpoint, const ClipGOptions& options,
                      const ClipGFindings& findings) {
  ClipGPlan plan;
  plan.last_block = last_block_of(checkpoint);
  refuse_quantized(checkpoint, "start from the original, unquantized file");
  plan.kept_blocks = options.keep.among(plan.last_block);
  plan.kept_blocks.insert(plan.last_block);
  plan.scaled = options.scaled;
  const Planner planner(options, findings, plan);
  for (const Entry& entry : checkpoint.entries()) plan.tensors.push_back(planner.decide(entry));
  return plan;
}

}  // namespace ctq::plan
