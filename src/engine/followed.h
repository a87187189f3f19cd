// The events of the rooms below as plain values.
#pragma once

#include "ctq/engine/events.h"
#include "ctq/engine/results.h"
#include "pipeline/convert.h"

namespace ctq::engine {

class Conversion;

/// Hands events on. Both must outlive it.
class Followed final : public pipeline::Events {
 public:
  Followed(const Conversion& conversion, engine::Events& events) : conversion_(conversion), events_(events) {}

  void measured(const pipeline::MeasuredLayer& layer, size_t index, size_t count) override;
  /// throws  as Conversion::refuse_unused(), once the caller knows the plan
  void started(const plan::Plan& plan, const pipeline::RunOptions& run) override;
  void resumed(const pipeline::Resumed& resumed) override;
  void ranked(const pipeline::Ranked& ranked) override;
  void tensor_done(const pipeline::TensorDone& done) override;
  void restarted(const plan::ValueFindings& findings) override;

 private:
  const Conversion& conversion_;
  engine::Events& events_;
};

Decision plain_decision(plan::Decision decision);
std::vector<TensorReason> reasons_of(const plan::ValueFindings& findings);
/// With figures of what was measured. written, seconds and memory are those of the run.
ConversionResult plain_result(const pipeline::Result& result);

}  // namespace ctq::engine
