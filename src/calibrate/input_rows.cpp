#include "calibrate/input_rows.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <span>
#include <unordered_map>
#include <utility>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <xxhash.h>

#include "calibrate/statistics.h"
#include "linalg/cholesky.h"
#include "linalg/panels.h"

namespace ctq::calibrate {
namespace {

constexpr double kNear = 0.02;      // distance of near-equal rows, in lengths of one
constexpr int64_t kSketch = 16;     // random directions in which distances are looked at
constexpr int64_t kFewSteps = 4;    // fewer are no groups
constexpr double kLopsided = 0.75;  // share of the rows in one group with which groups tell little

/// The first row of each that are equal, and the sums of their counts.
struct Kept {
  std::vector<int64_t> index;
  std::vector<float> counts;
};

Kept first_of_equals(const at::Tensor& rows, const at::Tensor& counts) {
  const at::Tensor bytes = rows.contiguous();
  const size_t row_bytes = static_cast<size_t>(rows.size(1) * rows.element_size());
  const auto* data = static_cast<const char*>(bytes.const_data_ptr());
  const at::Tensor seen = counts.defined() ? counts.to(at::kFloat).contiguous() : at::ones({rows.size(0)});
  const float* counted = seen.const_data_ptr<float>();
  std::unordered_map<uint64_t, size_t> places;
  Kept kept;
  for (int64_t row = 0; row < rows.size(0); ++row) {
    const uint64_t hash = XXH3_64bits(data + static_cast<size_t>(row) * row_bytes, row_bytes);
    const auto [place, is_new] = places.emplace(hash, kept.index.size());
    if (is_new) {
      kept.index.push_back(row);
      kept.counts.push_back(counted[row]);
    } else {
      kept.counts[place->second] += counted[row];
    }
  }
  return kept;
}

/// Numbers from 0 without gaps, in the same order, and how many there are. Rows of a file are shuffled, the
/// numbers of their pictures and steps are not.
int64_t renumber(std::span<int64_t> groups) {
  std::map<int64_t, int64_t> numbers;
  for (const int64_t group : groups) numbers[group] = 0;
  int64_t count = 0;
  for (auto& [group, number] : numbers) number = count++;
  for (int64_t& group : groups) group = numbers[group];
  return count;
}

/// Whether nearly all rows are in one group.
bool is_lopsided(std::span<const int64_t> groups, int64_t count) {
  std::vector<size_t> sizes(static_cast<size_t>(count));
  for (const int64_t group : groups) ++sizes[static_cast<size_t>(group)];
  return static_cast<double>(std::ranges::max(sizes)) > kLopsided * static_cast<double>(groups.size());
}

/// A forest of sets.
class Sets {
 public:
  explicit Sets(size_t count) : parents_(count) { std::iota(parents_.begin(), parents_.end(), 0); }
  int64_t find(int64_t member) {
    while (parent(member) != member) member = parent(member) = parent(parent(member));
    return member;
  }
  void join(int64_t a, int64_t b) { parent(find(b)) = find(a); }

 private:
  int64_t& parent(int64_t member) { return parents_[static_cast<size_t>(member)]; }
  std::vector<int64_t> parents_;
};

/// Rows that nearly equal each other, found in random projections, whose distances are those of the rows up
/// to a factor near 1 (Johnson and Lindenstrauss 1984).
std::vector<int64_t> near_equals(const at::Tensor& rows) {
  const auto count = static_cast<size_t>(rows.size(0));
  const auto random = at::make_generator<at::CPUGeneratorImpl>(/*seed=*/uint64_t{0});
  const at::Tensor directions = at::randn({rows.size(1), kSketch}, random, at::TensorOptions(at::kFloat));
  const at::Tensor sketch =
      linalg::product(rows.cpu(), directions).div_(std::sqrt(static_cast<double>(kSketch)));
  const float* values = sketch.const_data_ptr<float>();
  const auto at = [&](int64_t row, int64_t direction) { return values[row * kSketch + direction]; };
  std::vector<int64_t> order(count);
  std::iota(order.begin(), order.end(), 0);
  std::ranges::sort(order, {}, [&](int64_t row) { return at(row, 0); });
  std::vector<double> lengths(count);
  for (size_t row = 0; row < count; ++row) {
    double squares = 0;
    for (int64_t i = 0; i < kSketch; ++i) squares += std::pow(at(static_cast<int64_t>(row), i), 2);
    lengths[row] = std::sqrt(squares);
  }
  Sets sets(count);
  for (size_t i = 0; i < count; ++i) {
    const double near = kNear * lengths[static_cast<size_t>(order[i])];
    for (size_t j = i + 1; j < count && at(order[j], 0) - at(order[i], 0) <= near; ++j) {
      double squares = 0;
      for (int64_t k = 0; k < kSketch && squares <= near * near; ++k) {
        const double difference = at(order[i], k) - at(order[j], k);
        squares += difference * difference;
      }
      if (squares <= near * near) sets.join(order[i], order[j]);
    }
  }
  std::vector<int64_t> groups(count);
  for (size_t row = 0; row < count; ++row) groups[row] = sets.find(static_cast<int64_t>(row));
  return groups;
}

std::vector<int64_t> values_at(const at::Tensor& values, const std::vector<int64_t>& index) {
  std::vector<int64_t> found;
  const at::Tensor whole = values.to(at::kLong).contiguous();
  const int64_t* data = whole.const_data_ptr<int64_t>();
  for (const int64_t row : index) found.push_back(data[row]);
  return found;
}

/// Leaves pictures out, else steps, else near-equal rows.
void group(InputRows& rows, const RowOrigins& origins, const std::vector<int64_t>& index) {
  std::vector<int64_t> groups;
  const auto by = [&](const at::Tensor& values, int64_t fewest) {
    if (!values.defined()) return false;
    groups = values_at(values, index);
    rows.group_count = renumber(groups);
    return rows.group_count >= fewest && !is_lopsided(groups, rows.group_count);
  };
  if (by(origins.pictures, 2)) {
    rows.grouped_by = GroupedBy::kPicture;
  } else if (by(origins.steps, kFewSteps)) {
    rows.grouped_by = GroupedBy::kStep;
  } else {
    groups = near_equals(rows.rows);
    rows.group_count = renumber(groups);
  }
  rows.groups = at::tensor(groups, at::kLong);
}

/// The rows of that index, each times the root of `scale` and of its count over the mean count.
at::Tensor weighted(const InputRows& rows, const at::Tensor& index, double scale) {
  const auto chosen = [&](const at::Tensor& of) {
    return index.defined() ? of.index_select(0, index.to(of.device())) : of;
  };
  at::Tensor x = chosen(rows.rows);
  const at::Tensor counts = chosen(rows.counts);
  if (scale == 1 && counts.eq(1).all().item<bool>()) return x;
  if (!index.defined()) x = x.clone();
  return x.mul_((counts / counts.sum() * counts.size(0)).mul_(scale).sqrt_().unsqueeze(1));
}

}  // namespace

InputRows distinct_rows(const at::Tensor& stored, const RowOrigins& origins, at::Device device) {
  InputRows found;
  const at::Tensor usable = finite_index(stored);
  found.left_out = stored.size(0) - usable.size(0);
  const bool whole = found.left_out == 0;
  const auto of_usable = [&](const at::Tensor& values) {
    return whole || !values.defined() ? values : values.index_select(0, usable);
  };
  const at::Tensor rows = of_usable(stored);
  const Kept kept = first_of_equals(rows, of_usable(origins.counts));
  const at::Tensor index = at::tensor(kept.index, at::kLong);
  found.rows = rows.index_select(0, index).to(device).to(at::kFloat);
  found.counts = at::tensor(kept.counts, at::kFloat).to(device);
  if (found.any()) group(found, {{}, of_usable(origins.pictures), of_usable(origins.steps)}, kept.index);
  return found;
}

std::vector<at::Tensor> held_back_sets(const InputRows& rows, int64_t one_of, size_t most) {
  std::vector<at::Tensor> sets;
  const int64_t ways = std::min(one_of, rows.group_count);
  for (int64_t way = ways - 1; ways > 1 && way >= 0 && sets.size() < most; --way)
    sets.push_back(rows.groups.remainder(ways).eq(way).nonzero().squeeze(1));
  return sets;
}

double novelty(const InputRows& rows) {
  if (rows.grouped_by != GroupedBy::kPicture) return 1;
  const at::Tensor sizes = at::bincount(rows.groups).to(at::kDouble);
  const int64_t latter = (rows.group_count + 1) / 2;
  const double fresh = sizes.narrow(0, rows.group_count - latter, latter).mean().item<double>();
  return std::min(1.0, fresh / sizes[0].item<double>());
}

at::Tensor all_but(const InputRows& rows, const at::Tensor& held_back) {
  at::Tensor others = at::ones({rows.rows.size(0)}, at::kBool);
  others.index_fill_(0, held_back, false);
  return others.nonzero().squeeze(1);
}

at::Tensor second_moment(const InputRows& rows, const at::Tensor& index) {
  return second_moment(weighted(rows, index, /*scale=*/1));
}

linalg::Moment input_moment(const InputRows& rows, const at::Tensor& index) {
  if (!linalg::worth_samples(rows.rows.size(0), rows.rows.size(1))) return second_moment(rows, index);
  const int64_t count = index.defined() ? index.size(0) : rows.rows.size(0);
  const at::Tensor x = weighted(rows, index, 1 / static_cast<double>(std::max<int64_t>(count, 1)));
  return {at::zeros({x.size(1)}, x.options()), x};
}

linalg::Moment completed(const linalg::Moment& h, const at::Tensor& diagonal) {
  if (!diagonal.defined()) return h;
  const at::Tensor lacking = (diagonal - h.diagonal()).clamp_min_(0);
  constexpr double kLeast = 1e-3;
  return linalg::mean_of(lacking) > kLeast * linalg::mean_of(diagonal) ? h.shifted(lacking) : h;
}

at::Tensor mean_of(const InputRows& rows) {
  const at::Tensor counts = rows.counts.to(at::kDouble);
  return (rows.rows * (counts / counts.sum()).unsqueeze(1)).sum(0).to(at::kFloat);
}

at::Tensor mean_square_of(const at::Tensor& stored, const at::Tensor& counts) {
  const at::Tensor usable = finite_index(stored);
  if (usable.size(0) == 0) return {};
  at::Tensor squares = stored.index_select(0, usable).to(at::kFloat).square_();
  auto all = static_cast<double>(usable.size(0));
  if (counts.defined()) {
    const at::Tensor weights = counts.index_select(0, usable).to(at::kFloat);
    squares.mul_(weights.unsqueeze(1));
    all = weights.sum(at::kDouble).item<double>();
  }
  return squares.sum(0, /*keepdim=*/false, at::kDouble).div_(all).to(at::kFloat);
}

double effective_rank(const linalg::Moment& second) {
  const auto sum = [](const at::Tensor& x) { return linalg::mean_of(x) * static_cast<double>(x.numel()); };
  // X^T X and X X^T have the same eigenvalues.
  const at::Tensor square =
      second.is_matrix() ? second.matrix() : linalg::product(second.rows(), second.rows().t());
  const double trace = sum(square.diagonal()), squares = sum(square.square().sum(1, false, at::kDouble));
  return squares > 0 ? trace * trace / squares : 0;
}

double effective_rank(const InputRows& rows) {
  constexpr int64_t kMost = 512;
  const int64_t count = rows.rows.size(0), step = (count + kMost - 1) / kMost;
  const at::Tensor weighted = rows.rows * rows.counts.sqrt().unsqueeze(1);
  const at::Tensor some = weighted.slice(0, 0, count, std::max<int64_t>(step, 1));
  return effective_rank(linalg::Moment(at::zeros({some.size(1)}, some.options()), some));
}

}  // namespace ctq::calibrate
