#include "optimize/scales.h"

#include <catch2/catch.hpp>

#include <ATen/ATen.h>

#include "linalg/device.h"
#include "linalg/objective.h"
#include "optimize/layers.h"

namespace ctq::optimize {
namespace {

using test::correlated;
using test::seeded_weight;

double trace(const Layer& layer, const at::Tensor& values, const at::Tensor& scale, const at::Tensor& h) {
  return linalg::objective_rows(error_of(layer, values, scale), h).sum().item<double>();
}

/// One value decides absmax, all others then lie far from the grid: clipping the one pays.
at::Tensor with_outlier() {
  at::Tensor weight = at::full({64, 128}, 0.9f);
  weight.select(1, 7).fill_(1.0f);
  return weight;
}

TEST_CASE("scales: a search never ends above absmax, and finds scales that clip", "[optimize]") {
  const at::Tensor h = correlated(128);
  for (const format::Codec& codec : format::registry()) {
    INFO(codec.label());
    const Layer layer = make_layer(codec, seeded_weight(64, 128), codec.has_blocks() ? 32 : 0);
    const Layer searched = search_scales(layer, h);
    CHECK(at::equal(layer.grid->nearest(searched.nearest), searched.nearest));
    const bool also_larger = codec.grid().bits() == 4 && !codec.grid().uniform();
    if (!also_larger) CHECK((searched.scale <= layer.scale).all().item<bool>());
    CHECK(at::equal(storable(layer, searched.scale), searched.scale));
    CHECK((searched.scale > 0).all().item<bool>());
    const bool whole_rows = layer.tiling.cols >= 128;
    if (whole_rows)
      CHECK(trace(layer, searched.nearest, searched.scale, h) <= trace(layer, layer.nearest, layer.scale, h));
  }
}

TEST_CASE("scales: a search clips where that pays", "[optimize]") {
  for (const std::string_view format : {"float8_e4m3fn", "float8_e4m3fn_blockwise"}) {
    const auto granularity =
        format == "float8_e4m3fn" ? format::Granularity::kTensor : format::Granularity::kBlock;
    const Layer layer = make_layer(*format::find_codec(format, granularity), with_outlier(), 32);
    const Layer searched = search_scales(layer, at::eye(128));
    CHECK(searched.scale.max().item<float>() < 0.97f * layer.scale.max().item<float>());
    CHECK(error_of(layer, searched.nearest, searched.scale).norm().item<double>() <
          0.6 * error_of(layer, layer.nearest).norm().item<double>());
  }
}

TEST_CASE("scales: without a second moment rows and blocks are judged by their error, a tensor is left alone",
          "[optimize]") {
  for (const format::Codec& codec : format::registry()) {
    INFO(codec.label());
    const Layer layer = make_layer(codec, seeded_weight(64, 128), codec.has_blocks() ? 32 : 0);
    const Layer searched = search_scales(layer, {});
    const double before = error_of(layer, layer.nearest).norm().item<double>();
    const double after = error_of(layer, searched.nearest, searched.scale).norm().item<double>();
    if (codec.granularity == format::Granularity::kTensor) {
      CHECK(at::equal(searched.scale, layer.scale));
    } else {
      CHECK(after <= before);
    }
  }
}

TEST_CASE("scales: a refit is the least-squares scale of fixed codes", "[optimize]") {
  const at::Tensor h = correlated(128);
  const format::Codec& rows = *format::find_codec("int8_tensorwise", format::Granularity::kRow);
  const Layer layer = make_layer(rows, seeded_weight(64, 128), 0);
  const at::Tensor fitted = refit_scales(layer, layer.nearest, layer.scale, h);
  const at::Tensor w = layer.weight.to(at::kDouble), q = layer.nearest.to(at::kDouble), m = h.to(at::kDouble);
  const at::Tensor expected = (w.mm(m) * q).sum(1) / (q.mm(m) * q).sum(1);
  CHECK(at::allclose(fitted.squeeze(1).to(at::kDouble), expected, 1e-5));
  for (const format::Codec& codec : format::registry()) {
    INFO(codec.label());
    const Layer other = make_layer(codec, seeded_weight(64, 128), codec.has_blocks() ? 32 : 0);
    const at::Tensor refitted = refit_scales(other, other.nearest, other.scale, h);
    const at::Tensor plain = refit_scales(other, other.nearest, other.scale, {});
    const auto norm = [&](const at::Tensor& scale) {
      return error_of(other, other.nearest, scale).norm().item<double>();
    };
    CHECK(at::equal(storable(other, refitted), refitted));
    if (codec.scale_type == format::ScaleType::kE8M0) {  // no other power of two may be better
      CHECK(trace(other, other.nearest, refitted, h) <= trace(other, other.nearest, other.scale, h));
      CHECK(norm(plain) <= norm(other.scale));
    } else {
      CHECK(trace(other, other.nearest, refitted, h) < trace(other, other.nearest, other.scale, h));
      CHECK(norm(plain) < norm(other.scale));
    }
  }
}

TEST_CASE("scales: zero rows and tiles keep the format's own scale", "[optimize]") {
  at::Tensor weight = seeded_weight(64, 128);
  weight.narrow(0, 0, 32).zero_();
  for (const format::Codec& codec : format::registry()) {
    INFO(codec.label());
    const Layer layer = make_layer(codec, weight, codec.has_blocks() ? 32 : 0);
    const Layer searched = search_scales(layer, correlated(128));
    const at::Tensor fitted = refit_scales(searched, searched.nearest, searched.scale, correlated(128));
    CHECK(fitted.isfinite().all().item<bool>());
    CHECK(at::equal(fitted > 0, layer.scale > 0));
    if (codec.grid().code() != linalg::Code::kLevel16)  // which has no 0
      CHECK(searched.nearest.narrow(0, 0, 32).abs().max().item<float>() == 0);
  }
}

TEST_CASE("scales: the same bits for any number of threads", "[optimize]") {
  const format::Codec& codec = *format::find_codec("float8_e4m3fn_blockwise", format::Granularity::kBlock);
  const Layer layer = make_layer(codec, seeded_weight(640, 320), 32);
  const at::Tensor h = correlated(320);
  linalg::set_threads(1);
  const Layer one = search_scales(layer, h);
  const at::Tensor fitted = refit_scales(one, one.nearest, one.scale, h);
  for (const int threads : {2, 7}) {
    linalg::set_threads(threads);
    const Layer several = search_scales(layer, h);
    CHECK(at::equal(several.scale, one.scale));
    CHECK(at::equal(several.nearest, one.nearest));
    CHECK(at::equal(refit_scales(one, one.nearest, one.scale, h), fitted));
  }
  linalg::set_threads(linalg::available_cores());
}

}  // namespace
}  // namespace ctq::optimize
