// Carries out the plan of a text encoder (plan/clip_g.h).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "plan/clip_g.h"

namespace ctq::pipeline {

/// What only reading a weight that becomes FP8 shows.
struct ClipGValues {
  float max_abs = 0;  ///< of the finite values
  int64_t numel = 0;
  int64_t beyond = 0;  ///< magnitudes above 448, where that is what the cast can hold
  int64_t below = 0;   ///< that are not zero but become it, where the cast has no scale
  int64_t non_finite = 0;
  bool vanishes = false;  ///< it is not zero, but all its codes would be
};

struct ClipGSurvey {
  std::map<std::string, ClipGValues> fp8;    ///< by output name
  std::vector<std::string> non_finite_kept;  ///< tensors that do not become FP8, with NaN or infinities
  std::map<std::string, float> no_float16;   ///< what float16 cannot hold either, by its largest magnitude
};

/// Reads all float tensors once.
ClipGSurvey survey_clip_g(const plan::ClipGPlan& plan);

/// Weights that cannot become FP8: those with NaN or infinities, those that vanish, and, with keep_beyond,
/// those with magnitudes above 448. And what cannot become float16.
plan::ClipGFindings findings_of(const ClipGSurvey& survey, bool keep_beyond);

/// Writes the file, a tensor at a time. Tensors that are neither split nor of another type keep their bytes.
///
/// survey  of this plan, or of one with more FP8 weights
/// throws  see safetensors::Writer
void write_clip_g(const plan::ClipGPlan& plan, const ClipGSurvey& survey, const model::Checkpoint& checkpoint,
                  const std::string& output);

}  // namespace ctq::pipeline
