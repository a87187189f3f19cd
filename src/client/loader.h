// What a client makes of a weight that is stored in a format: the one rule that decides what a plan may
// write, and that a finished file is checked by.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "client/client.h"
#include "families/parts.h"

namespace ctq::client {

/// Why a client does not read a layer in a format.
enum class Obstacle : uint8_t {
  kNone,
  kFormat,         ///< it does not know the format
  kPlainModel,     ///< it builds the model of layers that read plain numbers only: scales are ignored
  kPlainModule,    ///< the same of this one layer
  kInCheckpoint,   ///< a text encoder inside a checkpoint whose diffusion model is not known here
  kTable,          ///< an embedding table, for which it knows other formats only
  kRenamed,        ///< its name is another library's: it renames or joins the tensors, and loses the scale
  kConfiguration,  ///< the model's configuration is taken from the weight's stored shape, which the format
                   ///< changes
  kOutsideBlocks,  ///< the same may be so: the format changes the shape, and the model is not one that is
                   ///< known here
  kNoBank,         ///< three-dimensional, of a layer that is no bank of experts
  kBank,           ///< a bank of experts, which it does not read, or not in the format
  kRotatedBank,    ///< it reads the bank's codes, but does not rotate the experts back
};

/// A client before one checkpoint. Both must outlive it.
class Loader {
 public:
  Loader(const Client& client, const families::Parts& parts) : client_(client), parts_(parts) {}

  const Client& client() const { return client_; }
  const families::Parts& parts() const { return parts_; }

  /// layer   "model.diffusion_model.img_in", with the prefix of its part
  /// shape   of the weight itself, [out_features, in_features] or with experts in front
  /// format  the marker's word
  /// rotation_group  of ConvRot; 0: not rotated
  Obstacle reads(std::string_view layer, std::span<const int64_t> shape, std::string_view format,
                 Scales scales = Scales::kOther, int64_t rotation_group = 0) const;
  /// For people: "ComfyUI reads T5-base as plain numbers, without scales". The same words for all layers that
  /// have the same reason.
  std::string why(std::string_view layer, Obstacle obstacle) const;

 private:
  const Client& client_;
  const families::Parts& parts_;
};

}  // namespace ctq::client
