// What a finished file holds, what its clients say to it, and how far it is from its original.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/terminal.h"
#include "quantized/layers.h"
#include "verify/client.h"
#include "verify/values.h"

namespace ctq::report {

/// The parts of an inspection, and the names it is limited to.
struct InspectionParts {
  bool tensors = true;
  bool layers = false;
  bool metadata = false;
  bool summary = true;
  std::function<bool(const std::string& name)> wanted;  ///< of tensors and layers; null: all
};

/// For people. Long metadata values are cut at 200 characters. findings: of verify::check_structure(), or
/// null where nothing was checked
std::string inspection_text(const quantized::QuantizedFile& file, const InspectionParts& parts,
                            const std::vector<verify::Finding>* findings);
/// The same as JSON (docs/files.md), metadata whole.
std::string inspection_json(const quantized::QuantizedFile& file, const InspectionParts& parts,
                            const std::vector<verify::Finding>* findings);

/// What is checked, for whom, and what was found.
struct Checked {
  std::string path;
  std::string client;
  std::string original;  ///< measured against; empty: nothing was measured
  std::vector<verify::Finding> findings;
  std::vector<verify::LayerError> measured;
};

/// One line per finding, those that the client refuses first, how far the layers are from the original, and
/// the verdict. A finding that many layers share is printed once.
std::string verdict_text(const Checked& checked, const Paint& paint = {});
std::string verdict_json(const Checked& checked);

/// One finished file beside its original.
struct Comparison {
  std::string path;
  verify::Differences differences;
};

/// The `worst` layers by SQNR and the totals, for each file; a layer below threshold_db is marked.
std::string comparison_text(const std::string& original, const std::vector<Comparison>& files, size_t worst,
                            double threshold_db);
/// Every layer and the totals (docs/files.md).
std::string comparison_json(const std::string& original, const std::vector<Comparison>& files,
                            double threshold_db);

/// Layers whose figures are not numbers or lie below the threshold.
size_t count_below(const verify::Differences& differences, double threshold_db);

}  // namespace ctq::report
