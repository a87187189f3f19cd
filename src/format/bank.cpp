#include "format/bank.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

namespace ctq::format {

std::vector<StoredTensor> stored_tensors_of_bank(const Codec& codec, int64_t experts, int64_t out_features,
                                                 int64_t in_features, int64_t block_size) {
  std::vector<StoredTensor> tensors = stored_tensors(codec, out_features, in_features, block_size);
  if (experts == 0) return tensors;
  for (StoredTensor& tensor : tensors) tensor.shape.insert(tensor.shape.begin(), experts);
  return tensors;
}

std::vector<at::Tensor> pack_bank(std::span<const Encoded> experts) {
  const auto count = static_cast<int64_t>(experts.size());
  std::vector<at::Tensor> bank;
  for (int64_t i = 0; i < count; ++i) {
    const std::vector<at::Tensor> packed = pack(experts[static_cast<size_t>(i)]);
    for (size_t part = 0; part < packed.size(); ++part) {
      if (i == 0) {
        std::vector<int64_t> shape = packed[part].sizes().vec();
        shape.insert(shape.begin(), count);
        bank.push_back(at::empty(shape, packed[part].options()));
      }
      bank[part][i].copy_(packed[part]);
    }
  }
  return bank;
}

std::string bank_marker_json(const Codec& codec, int64_t block_size, int64_t experts, MarkerOptions options) {
  std::string json = marker_json(codec, block_size, options);
  constexpr std::string_view kShape = "\"orig_shape\": [";
  if (const size_t at = json.find(kShape); at != std::string::npos)
    json.insert(at + kShape.size(), fmt::format("{}, ", experts));
  json.pop_back();
  return json + fmt::format(", \"num_experts\": {}}}", experts);
}

}  // namespace ctq::format
