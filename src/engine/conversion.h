// A conversion, step by step: open, gather what the plan depends on, then show the plan or run it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ctq/engine/session.h"
#include "engine/job.h"
#include "lora/extract.h"
#include "lora/merged_view.h"
#include "model/checkpoint.h"
#include "pipeline/convert.h"
#include "pipeline/format_errors.h"
#include "pipeline/layer_methods.h"
#include "rewrite/plain.h"

namespace ctq::engine {

class ConvertedInput;

/// Opens a job's input. Nothing is written before run() or write_merged().
class Conversion {
 public:
  /// session: gets the job's threads, memory and BF16
  /// throws  Error(kUsage): an output that is an input, an input that is no model. Error(kFailure): an output
  ///         that may not be replaced; adapters of which too little matches. What opening and decoding throw
  Conversion(Session& session, Job job);
  ~Conversion();
  Conversion(const Conversion&) = delete;
  Conversion& operator=(const Conversion&) = delete;

  const Job& job() const { return job_; }
  /// As it is converted: decoded, under the client's names, with adapters merged.
  const model::Checkpoint& checkpoint() const;
  /// Null where there are no adapters.
  const lora::MergedView* merged() const;

  /// Writes the merged model unquantized, and ends.
  rewrite::Written write_merged() const;

  /// Opens recordings and finds input scales, formats by measurement and input factors: all that a plan
  /// depends on. Before plan() and run().
  /// throws  what reading these files throws, naming the setting; Error(kQuality): no format is good enough
  void gather(Events& events);

  plan::Plan plan() const;
  /// What people should know of the settings and of a plan that they led to; {}: of the settings alone.
  Advice advice(const plan::Plan& plan) const;
  /// throws  Error(kFailure), if strict, for a pattern or preset that matches nothing
  void refuse_unused(const plan::Plan& plan) const;
  /// What events and the library tell of a plan.
  PlanSummary summary(const plan::Plan& plan) const;
  /// How each layer of a plan would be rounded. This must outlive it.
  pipeline::LayerMethods methods() const;
  /// What SmoothQuant does to a plan's layers, in a sentence; empty: nothing to say. Where it was asked for
  /// and can do nothing, that is a warning.
  std::string smoothing_words(const plan::Plan& plan, std::vector<std::string>& warnings) const;

  /// What a plan's layers lose in each of the analysis' formats, rounded to nearest.
  std::vector<pipeline::LayerFormatErrors> measure_formats(const plan::Plan& plan) const;
  /// A plan as a layer configuration to edit.
  std::string layer_template(const plan::Plan& plan) const;
  /// The same with the smallest of the measured formats that is good enough (report.threshold_db).
  std::string suggested_template(const std::vector<pipeline::LayerFormatErrors>& measured) const;

  /// On return the output is whole under its final name.
  /// throws  as pipeline::convert()
  pipeline::Result run(Events& events);

  /// The adapter that makes up for what `written` lost, where the job asks for one.
  /// returns  its layers; empty where none is asked for
  std::vector<lora::Extracted> extract(const std::string& written) const;

 private:
  void check_outputs() const;
  void choose_by_measurement(Events& events);
  void choose_input_factors();

  Job job_;
  std::unique_ptr<const ConvertedInput> input_;
  std::unique_ptr<const calibrate::Recording> recording_;
  std::unique_ptr<const calibrate::LoraRows> lora_;
};

}  // namespace ctq::engine
