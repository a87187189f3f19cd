// Which weights of an OpenCLIP text encoder become FP8 and which stay, one reason each (docs/clip_g.md).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "model/checkpoint.h"
#include "plan/blocks.h"
#include "plan/plan.h"
#include "safetensors/header.h"

namespace ctq::plan {

/// What a tensor of a block is. The two fused ones hold q, k and v as thirds of their rows.
enum class ClipGRole : uint8_t {
  kFusedWeight,
  kFusedBias,
  kQuery,
  kKey,
  kValue,
  kAttentionOut,
  kMlpIn,
  kMlpOut,
  kOther,
};

struct ClipGName {
  int64_t block = 0;
  ClipGRole role = ClipGRole::kOther;
};

/// Reads "transformer.resblocks.<N>.<rest>", and the names of the transformers library,
/// "text_model.encoder.layers.<N>.<rest>"; nothing for others, which are outside blocks.
std::optional<ClipGName> parse_clip_g_name(std::string_view name);

/// Whether it has a tensor in a block.
bool is_clip_g(const model::Checkpoint& checkpoint);

/// The weights that FP8 is possible for, in the order q, k, v, out, MLP in, MLP out; q, k and v as parts of
/// "attn.in_proj_weight", also where the file has them apart.
/// throws  Error(kBadInput): no block, rows of a fused tensor that three does not divide
std::vector<Block> clip_g_blocks(const model::Checkpoint& checkpoint);

/// Blocks named on a command line: "7" for the first seven, or a list of numbers and ranges, "0-3,9".
class BlockList {
 public:
  /// throws  Error(kUsage) "not a number of blocks or a list such as 0-3,9": an empty part, a > b, other text
  static BlockList parse(std::string_view text);
  /// The blocks out of 0..last.
  /// throws  Error(kUsage): one beyond the last, or more than `last` first ones
  std::set<int64_t> among(int64_t last) const;

 private:
  std::optional<int64_t> first_;
  std::set<int64_t> listed_;
};

/// What becomes of q, k and v, once they are tensors of their own.
struct QkvPrecision {
  bool query_fp8 = false;
  bool key_value_fp8 = true;
};

/// Names of q, k and v after a split.
enum class SplitNames : uint8_t {
  kTransformers,  ///< text_model.encoder.layers.<N>.self_attn.q_proj.*, which ComfyUI reads beside OpenCLIP's
  kOpenClip,      ///< transformer.resblocks.<N>.attn.q_proj.*, which an older program writes and nothing maps
};

struct ClipGOptions {
  BlockList keep;                     ///< stay as they are, as the last block does
  std::optional<QkvPrecision> split;  ///< fused tensors are split; nothing: they stay fused
  SplitNames split_names = SplitNames::kTransformers;
  bool fused_fp8 = false;  ///< not together with `split`
  bool attention_out_fp8 = false;
  bool scaled = false;  ///< float8_e4m3fn with a scale and a marker, else a plain cast
};

/// A tensor of the output.
struct ClipGPart {
  safetensors::TensorInfo info;  ///< name, type and shape as they will be
  int64_t first_row = 0;         ///< of the source; rows are info.shape[0]
  bool fp8 = false;
  std::string reason;
};

struct ClipGTensor {
  const model::Checkpoint::Entry* source = nullptr;
  std::vector<ClipGPart> parts;  ///< one, or q, k and v
  bool is_split() const { return parts.size() > 1; }
};

struct ClipGPlan {
  std::vector<ClipGTensor> tensors;  ///< sorted by the source's name
  std::set<int64_t> kept_blocks;     ///< those of the list, and the last
  int64_t last_block = 0;
  bool scaled = false;

  size_t fp8_count() const;
  size_t split_blocks() const;
  /// Tensors that the output must have: those of the input, two more for each that is split, two more for
  /// each scaled FP8 weight.
  size_t expected_tensors() const;
};

/// Tensors that cannot become what they should because of their values, by output name.
struct ClipGFindings {
  std::map<std::string, std::string> no_fp8;  ///< with the reason
  std::set<std::string> no_float16;           ///< these keep their type
};

/// Tensors outside blocks, in kept blocks, biases and norms become float16, which most have been already. MLP
/// weights become FP8; q, k, v and the attention's output as the options say.
///
/// throws    Error(kBadInput): no block; quantized already; rows of a fused tensor that three does not
///           divide.
///           Error(kUsage): a block of the list that is not there
ClipGPlan plan_clip_g(const model::Checkpoint& checkpoint, const ClipGOptions& options,
                      const ClipGFindings& findings = {});

}  // namespace ctq::plan
