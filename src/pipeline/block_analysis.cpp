#include "pipeline/block_analysis.h"

#include <atomic>

#include <ATen/Parallel.h>
#include <ATen/ops/narrow.h>

#include "base/cancel.h"
#include "model/checkpoint.h"

namespace ctq::pipeline {
namespace {

struct Task {
  const plan::BlockWeight* weight;
  metrics::CastStatistics* values;
};

void measure(const Task& task) {
  throw_if_cancelled();
  const plan::BlockWeight& weight = *task.weight;
  const at::Tensor rows = model::load(*weight.source).narrow(0, weight.first_row, weight.rows);
  *task.values = metrics::cast_statistics(rows);
  weight.source->file->release(*weight.source->info);
}

}  // namespace

double BlockStatistics::error() const {
  double sum = 0, count = 0;
  for (const WeightStatistics& weight : weights) {
    const auto numel = static_cast<double>(weight.values.numel);
    sum += weight.values.relative_error() * numel, count += numel;
  }
  return count > 0 ? sum / count : 0;
}

const metrics::CastStatistics* BlockStatistics::find(std::string_view name) const {
  for (const WeightStatistics& weight : weights) {
    if (weight.name == name) return &weight.values;
  }
  return nullptr;
}

std::vector<BlockStatistics> analyze_blocks(std::span<const plan::Block> blocks) {
  std::vector<BlockStatistics> found;
  for (const plan::Block& block : blocks) {
    BlockStatistics& statistics = found.emplace_back();
    statistics.stack = block.stack, statistics.index = block.index;
    for (const plan::BlockWeight& weight : block.weights)
      statistics.weights.push_back({weight.name, weight.fused, {}});
  }
  std::vector<Task> tasks;
  for (size_t b = 0; b < blocks.size(); ++b) {
    for (size_t w = 0; w < blocks[b].weights.size(); ++w)
      tasks.push_back({&blocks[b].weights[w], &found[b].weights[w].values});
  }
  std::atomic<size_t> next = 0;
  at::parallel_for(0, at::get_num_threads(), 1, [&](int64_t, int64_t) {
    for (size_t task = next++; task < tasks.size(); task = next++) measure(tasks[task]);
  });
  return found;
}

}  // namespace ctq::pipeline
