// The namings, defined in the files of this folder.
#pragma once

#include "families/foreign_names.h"

namespace ctq::families {

extern const Naming kAuraFlowNames;
extern const Naming kPixArtNames;
extern const Naming kZimageNames;
extern const Naming kLumina2Names;
extern const Naming kFlux2Names;
extern const Naming kChromaNames;
extern const Naming kHunyuanVideoNames;
extern const Naming kHunyuanVideoPublishedNames;
extern const Naming kFluxNames;
extern const Naming kSd3Names;
extern const Naming kUnetNames;
extern const Naming kWanNames;
extern const Naming kLtxvNames;
extern const Naming kMochiNames;
extern const Naming kKrea2Names;
extern const Naming kFluxProcessorNames;
extern const Naming kAceStepNames;
extern const Naming kOpenClipNames;
extern const Naming kGptOssNames;

}  // namespace ctq::families
