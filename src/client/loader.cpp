#include "client/loader.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "comfyui.h"

namespace ctq::client {

Obstacle Loader::reads(std::string_view layer, std::span<const int64_t> shape, std::string_view format,
                       Scales scales, int64_t rotation_group) const {
  if (client_.program == Program::kAny) return Obstacle::kNone;
  if (!format_obstacle(client_, format, scales).empty()) return Obstacle::kFormat;
  switch (client_.program) {
    case Program::kComfyUi:
    case Program::kComfyUiNodes:
    case Program::kForge: return comfyui_obstacle(client_, parts_, {layer, shape, format, rotation_group});
    // They read a file's tensors one by one, whatever module they are for, and no scales of three dimensions.
    case Program::kStableDiffusionCpp:
    case Program::kDiffusers: return shape.size() == 3 ? Obstacle::kBank : Obstacle::kNone;
    case Program::kAny: return Obstacle::kNone;
  }
  return Obstacle::kNone;
}

std::string Loader::why(std::string_view layer, Obstacle obstacle) const {
  const std::string name = client_.name();
  const families::Part& part = parts_.of(layer);
  const std::string_view model = part.family ? part.family->title : families::kind_name(part.kind);
  switch (obstacle) {
    case Obstacle::kNone: return "";
    case Obstacle::kFormat: return fmt::format("{} does not know the format", name);
    case Obstacle::kPlainModel:
      return fmt::format("{} reads {} as plain numbers{}, without scales", name, model,
                         parts_.inside_checkpoint(part) ? " inside such a checkpoint" : "");
    case Obstacle::kPlainModule:
      return fmt::format("{} reads this layer as plain numbers, without its scale", name);
    case Obstacle::kInCheckpoint:
      return fmt::format(
          "whether {} reads scales in a text encoder depends on the diffusion model beside it, which is not "
          "known here",
          name);
    case Obstacle::kTable: return fmt::format("{} reads only FP8 and INT8 in embedding tables", name);
    case Obstacle::kRenamed:
      return fmt::format("{} changes names of the diffusers library while it loads, and loses the scales",
                         name);
    case Obstacle::kConfiguration:
      return fmt::format("{} takes the model's configuration from this shape, which the format changes",
                         name);
    case Obstacle::kOutsideBlocks:
      return fmt::format(
          "outside the blocks of a model that is not known here: {} may take the configuration from its "
          "shape, which "
          "the format changes",
          name);
    case Obstacle::kNoBank:
      return fmt::format("{} reads this 3-D weight as plain numbers: it is no bank of experts there", name);
    case Obstacle::kBank: return fmt::format("{} does not read a bank of experts in this format", name);
    case Obstacle::kRotatedBank:
      return fmt::format("{} does not rotate a bank of experts in INT8 back", name);
  }
  return "";
}

}  // namespace ctq::client
