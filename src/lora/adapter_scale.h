// alpha / r where an adapter has no alpha tensors: headers, and PEFT's configuration.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/checkpoint.h"

namespace ctq::lora {

class AdapterScale {
 public:
  /// throws  Error(kBadInput): a configuration or a number that cannot be read; an option of PEFT that
  ///         changes what the factors mean
  explicit AdapterScale(const model::Checkpoint& file);

  /// rank: of the factors; 0: not known.
  double factor(std::string_view layer, int64_t rank) const;

 private:
  /// What PEFT was told, for all layers or for those that a pattern names.
  struct Peft {
    std::string prefix;  ///< of the layers that it is about: "transformer."; empty: all
    double alpha = 0;
    int64_t rank = 0;
    bool root = false;  ///< alpha / sqrt(r): rank-stabilised LoRA, arXiv:2312.03732
    std::map<std::string, double> alpha_pattern, rank_pattern;
  };
  void read_peft(const std::string& source, const std::string& json);
  double header_number(const std::string& key) const;

  const model::Checkpoint& file_;
  std::vector<Peft> peft_;
};

}  // namespace ctq::lora
