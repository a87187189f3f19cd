// Which layers are whose, where several processes share a plan.
#pragma once

#include "pipeline/convert.h"
#include "pipeline/layer_methods.h"

namespace ctq::pipeline {

/// A layer's share of the work, in units of one element rounded to nearest: elements times what the layer's
/// optimizer costs more, roughly. Headers alone.
double cost_of(const plan::TensorPlan& tensor, const LayerMethods& methods);

/// The part's tensors of a plan with one file, whose metadata says what it is part of. Tensors of a layer
/// stay together; the largest layers are dealt out first, each to the part that has least to do, so that
/// every process comes to the same parts.
plan::Plan part_of(const plan::Plan& whole, const Partition& partition, const LayerMethods& methods);

}  // namespace ctq::pipeline
