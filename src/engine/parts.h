// The parts of prepare(), a file each.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/job.h"

namespace ctq::engine {

/// Sentences for the user that come up on the way.
struct Remarks {
  explicit Remarks(Job& job) : notes(job.notes), warnings(job.warnings), unused(job.unused) {}

  std::vector<std::string>& notes;
  std::vector<std::string>& warnings;
  std::set<std::string, std::less<>>& unused;  ///< as Job::unused
};

plan::Target read_target(const Settings& settings, Remarks remarks);
plan::BlockFallback read_block_fallback(const Settings& settings, const plan::Target& target,
                                        Remarks remarks);

/// Fills in options.custom and options.fallback; options.target is known.
/// throws  Error(kUsage) for a setting without the one that it belongs to, a bad pattern, a scaling mode that
///         the type lacks
void read_custom_and_fallback(const Settings& settings, plan::Options& options, Remarks remarks);
/// Fills in options.layer_config. Opens the file, so it comes after the checks of all settings.
/// throws  Error(kBadInput) when the file cannot be read, Error(kUsage) for its content
void read_layer_config(const Settings& settings, plan::Options& options, Remarks remarks);

/// Fills in the optimizer and its settings. job.plan has its targets, job.run its device.
void read_rounding(Job& job);

/// Limits and BF16 arithmetic; job.run has its device.
/// throws  Error(kUsage): two that exclude each other; less than the program itself takes
void read_memory(Job& job);
void read_bf16(Job& job);

/// throws  Error(kUsage) for contradictions and bad numbers; Error(kBadInput) for a map that cannot be read
Merging read_merging(const Settings& settings, Remarks remarks);
/// The LoRA that is extracted in the end, if one is; job.output and job.merging are known.
void read_extraction(Job& job);

/// throws  Error(kUsage): one without a dry run that analyzes, two at once, an unknown format
Analysis read_analysis(const Settings& settings, const plan::Target& target);

/// Notes for what a merge alone, an analysis of blocks or a dry run does not read. All else of the job is
/// known.
/// throws  Error(kUsage) for a file that would not be written
void note_unread(Job& job);

/// Sets the run's partition, and the part's name as its output: "model.part-2-of-4.safetensors".
/// throws  Error(kUsage) also for settings that parts cannot have
void read_partition(Job& job);

}  // namespace ctq::engine
