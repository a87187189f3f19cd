#include "comfyui.h"

#include <algorithm>

#include "families/sensitive.h"
#include "format/codec.h"
#include "format_table.h"

namespace ctq::client {
namespace {

using families::Kind;
using families::Part;

/// The shape that the weight has in the file.
std::vector<int64_t> stored_shape(std::string_view format, std::span<const int64_t> shape) {
  for (const format::Codec& codec : format::registry()) {
    if (codec.format == format)
      return format::stored_tensors(codec, shape[0], shape[1], /*block_size=*/1).front().shape;
  }
  return {shape.begin(), shape.end()};
}

/// Whether ComfyUI makes another configuration of the family from the weight as it is stored.
bool misleads(const families::ComfyUi& family, std::string_view layer, std::span<const int64_t> shape,
              std::span<const int64_t> stored) {
  return (stored[1] != shape[1] && !families::fitting(family.configuring, layer).empty()) ||
         (stored[0] != shape[0] && (!families::fitting(family.configuring, layer).empty() ||
                                    !families::fitting(family.configuring_rows, layer).empty()));
}

bool reads_in_tables(const Client& client, std::string_view format) {
  const Version version = client.version.value_or(kNewestComfyUi);
  if (format == "float8_e4m3fn" || format == "float8_e5m2") return version >= kFp8Tables;
  return format == "int8_tensorwise" && version >= kInt8Tables;
}

/// Whether the layer is an embedding table. Those of the diffusion models that are known here are known, too:
/// ACE-Step has linear layers named like tables.
bool in_table(const Part& part, std::string_view layer) {
  if (part.family && !families::fitting(part.family->comfyui.tables, layer).empty()) return true;
  return families::table_of(layer) != families::Table::kNone &&
         !(part.family && part.kind == Kind::kDiffusion);
}

/// ComfyUI takes one expert out of the bank, with the parameters that it knows: not that INT8 is rotated, and
/// not the levels of asym_w4a8_int8, of which it builds no bank to begin with.
Obstacle bank_obstacle(const Client& client, const families::Parts& parts, const Stored& stored) {
  if (!parts.of(stored.layer).family) return Obstacle::kNone;  // of which nothing is known
  if (!parts.is_bank(stored.layer)) return Obstacle::kNoBank;
  constexpr std::string_view kFormats[] = {"float8_e4m3fn", "float8_e5m2",     "nvfp4",
                                           "mxfp8",         "int8_tensorwise", "convrot_w4a4"};
  if (client.program == Program::kForge || client.version.value_or(kNewestComfyUi) < kBanks ||
      std::ranges::count(kFormats, stored.format) == 0)
    return Obstacle::kBank;
  return stored.format == "int8_tensorwise" && stored.rotation_group > 0 ? Obstacle::kRotatedBank
                                                                         : Obstacle::kNone;
}

/// Whether the layers of a text encoder inside a whole checkpoint read scales: the class of the checkpoint
/// says which do.
Obstacle reads_inside(const families::Parts& parts, std::string_view layer) {
  const Part* model = parts.diffusion();
  if (!model || !model->family) return Obstacle::kInCheckpoint;
  const auto covers = [&](std::string_view prefix) { return layer.starts_with(prefix); };
  return std::ranges::any_of(model->family->comfyui.encoders, covers) ? Obstacle::kNone
                                                                      : Obstacle::kPlainModel;
}

/// Whether the modules of the part that the layer is in read scales at all.
Obstacle reads_quantized(const families::Parts& parts, const Part& part, std::string_view layer) {
  const auto plain_if = [](bool plain) { return plain ? Obstacle::kPlainModel : Obstacle::kNone; };
  const bool family_reads = part.family && part.family->comfyui.reads_quantized;
  switch (part.kind) {
    case Kind::kTextEncoder:
      if (part.family && !family_reads) return Obstacle::kPlainModel;
      return parts.inside_checkpoint(part) ? reads_inside(parts, layer) : Obstacle::kNone;
    case Kind::kDiffusion: return plain_if(part.family && !family_reads);
    case Kind::kOther: return Obstacle::kNone;  // of which nothing is known
    case Kind::kVae: return plain_if(!family_reads || !part.prefix.empty());
    case Kind::kVision:
    case Kind::kControl:
    case Kind::kAverage: return Obstacle::kPlainModel;
  }
  return Obstacle::kNone;
}

}  // namespace

Obstacle comfyui_obstacle(const Client& client, const families::Parts& parts, const Stored& stored) {
  const Part& part = parts.of(stored.layer);
  std::string_view layer = stored.layer;
  layer.remove_prefix(std::min(part.prefix.size(), layer.size()));
  if (const Obstacle plain = reads_quantized(parts, part, stored.layer); plain != Obstacle::kNone)
    return plain;
  if (part.renamed) return Obstacle::kRenamed;
  if (part.family && !families::fitting(part.family->comfyui.plain, layer).empty())
    return Obstacle::kPlainModule;
  if (stored.shape.size() == 3) return bank_obstacle(client, parts, stored);
  if (in_table(part, layer) && !reads_in_tables(client, stored.format)) return Obstacle::kTable;
  if (stored.shape.size() != 2) return Obstacle::kNone;
  const std::vector<int64_t> in_file = stored_shape(stored.format, stored.shape);
  if (std::ranges::equal(in_file, stored.shape)) return Obstacle::kNone;
  if (part.family)
    return misleads(part.family->comfyui, layer, stored.shape, in_file) ? Obstacle::kConfiguration
                                                                        : Obstacle::kNone;
  return part.numbered && !families::in_block(layer) ? Obstacle::kOutsideBlocks : Obstacle::kNone;
}

}  // namespace ctq::client
