#include "calibrate/implied.h"

#include <ATen/ATen.h>

#include "calibrate/closed_form.h"
#include "calibrate/draw.h"
#include "calibrate/resolve.h"
#include "linalg/tiles.h"

namespace ctq::calibrate {
namespace {

using Entry = model::Checkpoint::Entry;

/// Reads values as float32 to a device; remembers whether all were finite.
class Loader {
 public:
  explicit Loader(at::Device device) : device_(device) {}
  bool finite() const { return finite_; }

  at::Tensor load(const Entry* entry) { return entry ? checked(model::load(*entry)) : at::Tensor(); }

  Linear load(const LinearSource& source) {
    if (!source.weight) return {};
    const auto rows = [&](const Entry* entry) {
      return entry ? checked(model::load(*entry).narrow(0, source.first, source.rows)) : at::Tensor();
    };
    return {.weight = rows(source.weight), .bias = rows(source.bias)};
  }

 private:
  at::Tensor checked(const at::Tensor& stored) {
    finite_ = finite_ && linalg::extent(stored).finite();
    return finite_ ? stored.to(device_).to(at::kFloat) : at::Tensor();
  }

  at::Device device_;
  bool finite_ = true;
};

bool is_finite(const linalg::Moment& second) {
  return second.is_matrix()
             ? linalg::extent(second.matrix()).finite()
             : linalg::extent(second.rest().values()).finite() && linalg::extent(second.rows()).finite();
}

ImpliedInputs::Form form_of(const Source& source) {
  if (source.values.weight) return {.kind = Implied::kValues, .rows = 0, .width = source.width};
  if (!source.gate.weight)
    return {.kind = Implied::kNorm,
            .rows = closed_form_rows(Behind::kNorm, source.width, source.width),
            .width = source.width};
  const bool gated = source.up.weight != nullptr;
  const Behind behind = gated ? Behind::kGatedActivation : Behind::kActivation;
  return {.kind = Implied::kActivation,
          .rows = closed_form_rows(behind, source.width, source.gate.rows),
          .width = source.width,
          .gated = gated};
}

/// FNV-1a. Layers draw different rows, whatever the order they are asked for in.
uint64_t hash(std::string_view text) {
  uint64_t value = 0xCBF29CE484222325u;
  for (const char c : text) value = (value ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  return value;
}

}  // namespace

ImpliedInputs::Form ImpliedInputs::form(std::string_view layer) const {
  const auto source = resolve(checkpoint_, layer);
  return source ? form_of(*source) : Form{};
}

std::string ImpliedInputs::source(std::string_view layer) const {
  const auto source = resolve(checkpoint_, layer);
  return source ? words(*source) : std::string();
}

std::optional<InputMoments> ImpliedInputs::moments(std::string_view layer, uint64_t seed, int64_t rows,
                                                   at::Device device) const {
  const auto source = resolve(checkpoint_, layer);
  if (!source) return std::nullopt;
  Loader loader(device);
  Path path{.norm = source->input->norm.kind,
            .width = source->width,
            .norm_scale = loader.load(source->norm_weight),
            .norm_bias = loader.load(source->norm_bias),
            .values = loader.load(source->values),
            .value_head = source->value_head,
            .value_repeats = source->value_repeats,
            .gate = loader.load(source->gate),
            .up = loader.load(source->up),
            .activation = source->input->activation};
  if (!loader.finite()) return std::nullopt;
  if (path.norm == Norm::kRmsOnePlus) path.norm_scale = path.norm_scale + 1;
  InputMoments result;
  result.source = words(*source);
  const Form form = form_of(*source);
  const bool drawn = form.gated && form.rows == 0;
  const Moments found =
      drawn ? draw_moments(path, hash(result.source) ^ seed, rows, device) : closed_form_moments(path);
  if (!is_finite(found.second)) return std::nullopt;
  result.second = found.second;
  result.mean = found.mean;
  result.rows = drawn ? rows : 0;
  return result;
}

}  // namespace ctq::calibrate
