// Rows of one input, each once, and which of them say little of each other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include "linalg/moment.h"

namespace ctq::calibrate {

/// What a recorder knows of each row, [n] of any integer type, on the CPU. Undefined: not recorded.
struct RowOrigins {
  at::Tensor counts;    ///< how often it was seen
  at::Tensor pictures;  ///< number of the picture in which it was seen first
  at::Tensor steps;     ///< number of the forward pass within that picture
};

/// What rows of a group have in common.
enum class GroupedBy : uint8_t {
  kPicture,   ///< where several were recorded
  kStep,      ///< of the only picture
  kNearness,  ///< they nearly equal each other
};

/// Conditioning, padding and time steps repeat: what is fitted to a row is fitted to all that equal it, and a
/// row that equals one that was fitted judges nothing.
struct InputRows {
  at::Tensor rows;    ///< [m, in_features] float32, finite, no two alike, in the order in which they came
  at::Tensor counts;  ///< how often each was seen, [m] float32
  at::Tensor groups;  ///< [m] int64 on the CPU, from 0 without gaps: rows that are fitted or judged together
  int64_t group_count = 0;
  GroupedBy grouped_by = GroupedBy::kNearness;
  int64_t left_out = 0;  ///< rows with values that are not finite

  bool any() const { return rows.defined() && rows.size(0) > 0; }
};

/// stored  [n, in_features], as stored_rows() gives them
/// device  of the result but for groups
InputRows distinct_rows(const at::Tensor& stored, const RowOrigins& origins, at::Device device);

/// Indices of rows to hold back, [h] int64 on the CPU: of groups as a whole, every `one_of`-th of them; of
/// fewer groups one. Disjoint; at most `most` sets. None where there is a single group.
std::vector<at::Tensor> held_back_sets(const InputRows& rows, int64_t one_of, size_t most);

/// How much of what another picture shows is in none of these, 0 to 1: new rows of the latter half of the
/// pictures, against the first one, of which all is new. 1 where pictures are not told apart.
double novelty(const InputRows& rows);

/// The others, in their order.
at::Tensor all_but(const InputRows& rows, const at::Tensor& held_back);

/// Sum of counts x x^T over sum of counts. index: of rows, int64; undefined: all
/// returns  [in_features, in_features] float32, exactly symmetric; on the CPU the same bits for any number of
///          threads
at::Tensor second_moment(const InputRows& rows, const at::Tensor& index = {});

/// The same as D + X^T X with D = 0, where that costs less for all of the rows.
linalg::Moment input_moment(const InputRows& rows, const at::Tensor& index = {});

/// H with what it lacks of a diagonal [in_features] on its own, where that is more than a thousandth.
/// diagonal: undefined: not known
linalg::Moment completed(const linalg::Moment& h, const at::Tensor& diagonal);

/// The mean of the rows by their counts, [in_features] float32.
at::Tensor mean_of(const InputRows& rows);

/// The mean square of each column of rows, which need not be distinct: [in_features] float32; undefined: none
/// is finite.
///
/// stored  [n, in_features], as stored_rows() gives them
/// counts  [n] integers; undefined: 1 each
at::Tensor mean_square_of(const at::Tensor& stored, const at::Tensor& counts);

/// Participation ratio of the spectrum, (sum of eigenvalues)^2 / sum of their squares: how many directions
/// the input has, 1 to in_features; on the CPU the same bits for any number of threads. second: of D + X^T X
/// what is not D
double effective_rank(const linalg::Moment& second);
/// The same of rows by their counts, of at most 512 of them.
double effective_rank(const InputRows& rows);

}  // namespace ctq::calibrate
