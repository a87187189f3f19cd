#include "engine/verification.h"

#include <iterator>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "engine/job.h"
#include "engine/opened_file.h"

namespace ctq::engine {
namespace {

void append(std::vector<verify::Finding>& findings, std::vector<verify::Finding> more) {
  findings.insert(findings.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

void measure(const quantized::QuantizedFile& original, const quantized::QuantizedFile& file, double least_db,
             Verification& verification) {
  verify::Differences differences = verify::compare(original, file);
  for (const verify::LayerError& layer : differences.layers) {
    if (layer.error.non_finite == 0 && layer.error.sqnr_db >= least_db) continue;
    verification.findings.push_back(
        {layer.name, fmt::format("SQNR {:.2f} dB, below {:g} dB", layer.error.sqnr_db, least_db)});
  }
  append(verification.findings, std::move(differences.findings));
  verification.measured = std::move(differences.layers);
}

}  // namespace

Verification verify_file(const VerificationSettings& asked) {
  const std::string path = required(asked.input);
  if (asked.min_sqnr.given() && !asked.original.given())
    refuse_to_have(asked.min_sqnr, fmt::format("needs {}", asked.original));
  if (asked.original.given() && !*asked.values)
    refuse(asked.values, fmt::format("{} reads values", asked.original));
  const OpenedFile file(path);
  std::unique_ptr<const OpenedFile> original;
  if (asked.original.given())
    original = std::make_unique<const OpenedFile>(asked.original->string(), file.checkpoint);

  const client::Client client = client_of(asked.client).value_or(client::Client{});
  Verification verification{
      .findings = verify::check_structure(file.quantized, client, original ? &original->quantized : nullptr),
      .measured = {}};
  if (*asked.values) append(verification.findings, verify::check_values(file.quantized));
  if (original) measure(original->quantized, file.quantized, *asked.min_sqnr, verification);
  return verification;
}

}  // namespace ctq::engine
